/** Connections over TLS, against a real broker that verifies clients. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { connectNats } from "../../src/bus/nats.ts";
import { type NatsEnv, natsLogin } from "../../src/runtime/nats-login.ts";
import { requireServer, startNats } from "../../src/testing/servers.ts";

const directory = mkdtempSync(join(tmpdir(), "aviary-nats-tls-"));
after(() => rmSync(directory, { recursive: true, force: true }));
const file = (name: string): string => join(directory, name);

function openssl(...args: string[]): void {
  execFileSync("openssl", args, { cwd: directory, stdio: "pipe" });
}

/** A certificate authority, and certificates for the broker and for one client. */
function makeCertificates(): void {
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  openssl("req", "-x509", ...curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test-ca");
  writeFileSync(file("server.ext"), "subjectAltName=DNS:localhost\n");
  for (const name of ["server", "client"]) {
    openssl("req", ...curve, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`);
    const extensions = name === "server" ? ["-extfile", "server.ext"] : [];
    openssl(
      "x509",
      "-req",
      "-in",
      `${name}.csr`,
      "-CA",
      "ca.pem",
      "-CAkey",
      "ca.key",
      "-CAcreateserial",
      "-days",
      "2",
      "-out",
      `${name}.pem`,
      ...extensions,
    );
  }
}

async function connect(env: NatsEnv): Promise<string> {
  const bus = await connectNats({ ...(await natsLogin(env)), name: "aviary-test", timeoutMs: 5_000 });
  const { server } = bus;
  await bus[Symbol.asyncDispose]();
  return server;
}

describe("a broker with TLS", () => {
  it("accepts a client with a certificate, and rejects one without", async (test) => {
    if (!requireServer(test, "nats")) return;
    makeCertificates();
    const config = `tls { cert_file: "${file("server.pem")}", key_file: "${file("server.key")}", ca_file: "${file("ca.pem")}", verify: true }`;
    const nats = await startNats({ config });
    test.after(() => nats.stop());
    const env = {
      // The client verifies host names only, never IP addresses.
      AVIARY_NATS_URL: nats.url.replace("nats://127.0.0.1", "tls://localhost"),
      AVIARY_NATS_CA_FILE: file("ca.pem"),
      AVIARY_NATS_CERT_FILE: file("client.pem"),
      AVIARY_NATS_KEY_FILE: file("client.key"),
    };
    assert.match(await connect(env), /^nats-server /);
    await assert.rejects(
      connect({ ...env, AVIARY_NATS_CERT_FILE: undefined, AVIARY_NATS_KEY_FILE: undefined }),
      "no client certificate",
    );
    await assert.rejects(connect({ AVIARY_NATS_URL: env.AVIARY_NATS_URL }), "an unknown authority");
  });

  it("is not downgraded: tls:// fails on a broker without TLS", async (test) => {
    if (!requireServer(test, "nats")) return;
    const nats = await startNats();
    test.after(() => nats.stop());
    await assert.rejects(connect({ AVIARY_NATS_URL: nats.url.replace("nats://", "tls://") }));
  });

  it("has its files checked before connecting: both of a pair, readable, PEM", async () => {
    const url = { AVIARY_NATS_URL: "tls://broker:4222" };
    await assert.rejects(natsLogin({ ...url, AVIARY_NATS_CERT_FILE: file("client.pem") }), {
      code: "bad_nats_tls",
      message: "AVIARY_NATS_CERT_FILE and AVIARY_NATS_KEY_FILE: set both or neither",
    });
    await assert.rejects(
      natsLogin({ ...url, AVIARY_NATS_CA_FILE: file("missing.pem") }),
      /AVIARY_NATS_CA_FILE: cannot read .*ENOENT/,
    );
    writeFileSync(file("secret.txt"), "hunter2");
    await assert.rejects(
      natsLogin({ ...url, AVIARY_NATS_CA_FILE: file("secret.txt") }),
      (error: Error) => /contains no PEM block "CERTIFICATE"/.test(error.message) && !error.message.includes("hunter2"),
    );
  });
});
