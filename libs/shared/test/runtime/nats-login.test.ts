import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { ConfigError } from "../../src/runtime/config.ts";
import { natsLogin } from "../../src/runtime/nats-login.ts";

const directory = mkdtempSync(join(tmpdir(), "aviary-nats-login-"));
after(() => rmSync(directory, { recursive: true, force: true }));

describe("the login to the broker", () => {
  it("removes user and password from the address", async () => {
    assert.deepEqual(
      await natsLogin({ AVIARY_NATS_URL: "nats://mac%2Da1:p%40ss@broker:4222,nats://mac%2Da1:p%40ss@other:4222" }),
      {
        servers: ["nats://broker:4222", "nats://other:4222"],
        user: "mac-a1",
        pass: "p@ss",
      },
    );
    assert.deepEqual(await natsLogin({ AVIARY_NATS_URL: "tls://s3cret@broker:4222" }), {
      servers: ["tls://broker:4222"],
      tls: {},
      token: "s3cret",
    });
  });

  it("is anonymous without credentials, and accepts an address without a scheme", async () => {
    assert.deepEqual(await natsLogin({ AVIARY_NATS_URL: "127.0.0.1:4222" }), { servers: ["nats://127.0.0.1:4222"] });
  });

  it("reads a credentials file, and reports one that is missing or contains no credentials", async () => {
    const file = join(directory, "user.creds");
    writeFileSync(file, "-----BEGIN NATS USER JWT-----\nx\n------END NATS USER JWT------\n");
    const login = await natsLogin({ AVIARY_NATS_URL: "nats://broker:4222", AVIARY_NATS_CREDS_FILE: file });
    assert.match(login.creds ?? "", /BEGIN NATS USER JWT/);
    const missing = join(directory, "gone.creds");
    await assert.rejects(natsLogin({ AVIARY_NATS_URL: "nats://broker:4222", AVIARY_NATS_CREDS_FILE: missing }), {
      code: "bad_config",
      message: `environment: AVIARY_NATS_CREDS_FILE: ${missing} not found`,
    });
    const invalid = join(directory, "invalid");
    writeFileSync(invalid, "hunter2");
    await assert.rejects(
      natsLogin({ AVIARY_NATS_URL: "nats://broker:4222", AVIARY_NATS_CREDS_FILE: invalid }),
      (error: Error) => /contains no NATS user JWT/.test(error.message) && !error.message.includes("hunter2"),
    );
  });

  it("reports a malformed address without showing a secret", async () => {
    for (const [url, expected] of [
      ["http://u:hunter2@broker", /a malformed address/],
      ["nats://u:hunter2@", /a malformed address/],
      ["nats://u:hunter2@a,nats://u:other@b", /different credentials, expected the same credentials for all servers/],
      ["nats://:hunter2@broker", /a password without a user/],
      ["nats://u:hunter2%zz@broker", /invalid percent-encoding, expected % written as %25/],
    ] as const) {
      await assert.rejects(
        natsLogin({ AVIARY_NATS_URL: url }),
        (error: Error) => {
          assert.match(error.message, expected);
          return error.message.startsWith("environment: AVIARY_NATS_URL: ") && !error.message.includes("hunter2");
        },
        url,
      );
    }
  });

  it("reports the problems of all variables at once", async () => {
    const error = await natsLogin({
      AVIARY_NATS_URL: "ftp://broker",
      AVIARY_NATS_CREDS_FILE: join(directory, "gone"),
      AVIARY_NATS_CA_FILE: join(directory, "gone.pem"),
      AVIARY_NATS_CERT_FILE: join(directory, "gone.pem"),
    }).catch((reason: Error) => reason);
    assert.ok(error instanceof ConfigError);
    assert.deepEqual(
      error.problems.map(({ path }) => path),
      ["AVIARY_NATS_URL", "AVIARY_NATS_CREDS_FILE", "AVIARY_NATS_KEY_FILE", "AVIARY_NATS_CA_FILE", "AVIARY_NATS_CERT_FILE"],
    );
  });
});
