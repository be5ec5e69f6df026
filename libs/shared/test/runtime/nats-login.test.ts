import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
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

  it("reads a credentials file, and rejects a missing or foreign one by its path", async () => {
    const file = join(directory, "user.creds");
    writeFileSync(file, "-----BEGIN NATS USER JWT-----\nx\n------END NATS USER JWT------\n");
    const login = await natsLogin({ AVIARY_NATS_URL: "nats://broker:4222", AVIARY_NATS_CREDS_FILE: file });
    assert.match(login.creds ?? "", /BEGIN NATS USER JWT/);
    const missing = join(directory, "gone.creds");
    await assert.rejects(natsLogin({ AVIARY_NATS_URL: "nats://broker:4222", AVIARY_NATS_CREDS_FILE: missing }), {
      code: "bad_nats_credentials",
      message: new RegExp(`AVIARY_NATS_CREDS_FILE: cannot read ${missing} \\(ENOENT\\)`),
    });
    const foreign = join(directory, "foreign");
    writeFileSync(foreign, "hunter2");
    await assert.rejects(
      natsLogin({ AVIARY_NATS_URL: "nats://broker:4222", AVIARY_NATS_CREDS_FILE: foreign }),
      (error: Error) => /contains no NATS user JWT/.test(error.message) && !error.message.includes("hunter2"),
    );
  });

  it("never shows a secret in an error", async () => {
    for (const url of ["http://u:hunter2@broker", "nats://u:hunter2@", "nats://u:hunter2@a,nats://u:other@b"]) {
      await assert.rejects(natsLogin({ AVIARY_NATS_URL: url }), (error: Error) => !error.message.includes("hunter2"), url);
    }
  });
});
