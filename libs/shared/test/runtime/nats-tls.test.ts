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
    await assert.rejects(connect({ AVIARY_NATS_URL: env.AVIARY_NATS_URL }), {
      code: "broker_untrusted",
      message: /the broker's certificate is not trusted \(\w+\); set AVIARY_NATS_CA_FILE/,
    });
  });

  it("is not downgraded: tls:// fails on a broker without TLS", async (test) => {
    if (!requireServer(test, "nats")) return;
    const nats = await startNats();
    test.after(() => nats.stop());
    await assert.rejects(connect({ AVIARY_NATS_URL: nats.url.replace("nats://", "tls://") }));
  });

  it("has its files checked before connecting: both of a pair, readable, parsed, and matching", async () => {
    makeCertificates();
    writeFileSync(file("secret.txt"), "hunter2");
    writeFileSync(file("corrupt.pem"), "-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n-----END CERTIFICATE-----\n");
    const [ca, cert, key] = ["AVIARY_NATS_CA_FILE", "AVIARY_NATS_CERT_FILE", "AVIARY_NATS_KEY_FILE"] as const;
    for (const [env, expected] of [
      [{ [cert]: file("client.pem") }, /AVIARY_NATS_KEY_FILE: missing, expected the private key of AVIARY_NATS_CERT_FILE/],
      [{ [key]: file("client.key") }, /AVIARY_NATS_CERT_FILE: missing, expected the certificate of AVIARY_NATS_KEY_FILE/],
      [{ [ca]: file("missing.pem") }, /AVIARY_NATS_CA_FILE: \S+missing\.pem not found/],
      [{ [ca]: file("secret.txt") }, /secret\.txt, which cannot be parsed \(no certificate\), expected certificates/],
      [{ [ca]: file("corrupt.pem") }, /corrupt\.pem, which cannot be parsed/],
      [{ [cert]: file("client.pem"), [key]: file("secret.txt") }, /AVIARY_NATS_KEY_FILE: .*cannot be parsed/],
      [{ [cert]: file("client.pem"), [key]: file("server.key") }, /server\.key, the key of another certificate/],
    ] as const) {
      await assert.rejects(natsLogin({ AVIARY_NATS_URL: "tls://broker:4222", ...env }), (error: Error) => {
        assert.match(error.message, expected);
        return !error.message.includes("hunter2");
      });
    }
  });
});
