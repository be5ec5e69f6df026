/** The gateway probe against gateways with TLS, whose certificates openssl creates. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFile, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:https";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import { temporaryDirectory } from "@aviary/shared/testing/temporary.ts";
import { gatewayProbes } from "../../src/probes/gateway-probes.ts";
import { openProbe } from "../probe-context.ts";
import { listen } from "../serve-http.ts";

const ANSWERS: Readonly<Record<string, object>> = {
  "/healthz": { ok: true, status: "live" },
  "/startupz": { ok: true, status: "started", version: "2026.9.6", uptimeMs: 900_000 },
  "/readyz": { ready: true, failing: [], suppressed: [], uptimeMs: 900_000 },
};

/** Arguments of `openssl req` for a new key; the common name is by default the one that OpenClaw uses. */
const newKey = (name: string, commonName = "openclaw-gateway"): string[] => [
  ...["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
  ...["-subj", `/CN=${commonName}`, "-keyout", `${name}.key`],
];

function openssl(directory: string, ...args: string[]): void {
  execFileSync("openssl", args, { cwd: directory, stdio: "pipe" });
}

/** Creates `<name>.pem` and `<name>.key`, self-signed and with a common name only, as OpenClaw does. */
function makeCertificate(directory: string, name: string, ...more: string[]): void {
  openssl(directory, "req", "-x509", ...newKey(name), "-out", `${name}.pem`, ...more);
}

/** Of all openssl commands, only `openssl ca` can create an expired certificate in every version. */
async function makeExpiredCertificate(directory: string, name: string): Promise<void> {
  const section = "database = index.txt\nserial = serial\nnew_certs_dir = .\ndefault_md = sha256\npolicy = names\n";
  await writeFile(join(directory, "ca.cnf"), `[ca]\ndefault_ca = test\n[test]\n${section}[names]\ncommonName = supplied\n`);
  await writeFile(join(directory, "index.txt"), "");
  await writeFile(join(directory, "serial"), "01\n");
  openssl(directory, "req", ...newKey(name), "-out", `${name}.csr`);
  const signing = ["-batch", "-notext", "-config", "ca.cnf", "-selfsign", "-keyfile", `${name}.key`];
  const dates = ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"];
  openssl(directory, "ca", ...signing, ...dates, "-in", `${name}.csr`, "-out", `${name}.pem`);
}

async function startGateway(test: TestContext, directory: string, name: string) {
  const read = (file: string) => readFile(join(directory, file));
  const server = createServer({ key: await read(`${name}.key`), cert: await read(`${name}.pem`) }, (request, response) => {
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(ANSWERS[request.url ?? ""] ?? {}));
  });
  return { server, url: `https://127.0.0.1:${await listen(test, server)}` };
}

describe("a gateway with its own certificate", () => {
  const stateOf = async (test: TestContext, settings: object): Promise<SignalBody<"health">> =>
    (await openProbe(test, gatewayProbes, { answerTimeout: "10s", ...settings }).read()).bodies[0] as SignalBody<"health">;

  it("is up if the file contains that certificate, and is not trusted otherwise", async (test) => {
    const directory = await temporaryDirectory(test);
    makeCertificate(directory, "gateway");
    makeCertificate(directory, "other");
    const { url } = await startGateway(test, directory, "gateway");
    const pinned = await stateOf(test, { url, caFile: join(directory, "gateway.pem") });
    assert.deepEqual([pinned.state, pinned.worker_reachable], ["up", true]);
    for (const settings of [{ url }, { url, caFile: join(directory, "other.pem") }]) {
      const { state, failing } = await stateOf(test, settings);
      assert.deepEqual([state, failing], ["not_ready", ["healthz: tls", "readyz: tls"]]);
    }
  });

  it("is not trusted once the certificate has expired", async (test) => {
    const directory = await temporaryDirectory(test);
    await makeExpiredCertificate(directory, "gateway");
    const { url } = await startGateway(test, directory, "gateway");
    const { state, failing } = await stateOf(test, { url, caFile: join(directory, "gateway.pem") });
    assert.deepEqual([state, failing], ["not_ready", ["healthz: tls", "readyz: tls"]]);
  });

  it("is not trusted for its authority alone when the certificate names another host", async (test) => {
    const directory = await temporaryDirectory(test);
    makeCertificate(directory, "authority");
    for (const [name, host] of [
      ["right", "IP:127.0.0.1"],
      ["wrong", "DNS:elsewhere.example"],
    ] as const) {
      openssl(directory, "req", ...newKey(name, name), "-out", `${name}.csr`);
      await writeFile(join(directory, `${name}.ext`), `subjectAltName=${host}\n`);
      const authority = ["-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial"];
      const files = ["-in", `${name}.csr`, "-extfile", `${name}.ext`, "-out", `${name}.pem`];
      openssl(directory, "x509", "-req", ...authority, ...files);
      const { url } = await startGateway(test, directory, name);
      const { state } = await stateOf(test, { url, caFile: join(directory, "authority.pem") });
      assert.equal(state, name === "right" ? "up" : "not_ready");
    }
  });

  it("is trusted with its renewed certificate as soon as the file contains it", async (test) => {
    const directory = await temporaryDirectory(test);
    makeCertificate(directory, "old");
    makeCertificate(directory, "new");
    const caFile = join(directory, "trusted.pem");
    await copyFile(join(directory, "old.pem"), caFile);
    const { server, url } = await startGateway(test, directory, "old");
    const probe = openProbe(test, gatewayProbes, { url, caFile, period: "100ms", answerTimeout: "10s" });
    const state = async () => ((await probe.read()).bodies[0] as SignalBody<"health">).state;
    assert.equal(await state(), "up");
    server.setSecureContext({
      key: await readFile(join(directory, "new.key")),
      cert: await readFile(join(directory, "new.pem")),
    });
    server.closeAllConnections();
    assert.equal(await state(), "not_ready");
    await copyFile(join(directory, "new.pem"), caFile);
    assert.equal(await state(), "up");
  });

  it("is a failed reading when the file is missing or contains no certificate", async (test) => {
    const directory = await temporaryDirectory(test);
    const caFile = join(directory, "ca.pem");
    const read = () => openProbe(test, gatewayProbes, { url: "https://127.0.0.1:1", caFile }).read();
    await assert.rejects(read(), { code: "ca_file", message: /cannot read/ });
    await writeFile(caFile, "no certificate");
    await assert.rejects(read(), { code: "ca_file", message: /contains no certificate/ });
    const result = gatewayProbes.configSchema.safeParse({ url: "http://127.0.0.1:1", caFile });
    assert.match(result.error?.message ?? "", /an https:/);
  });
});
