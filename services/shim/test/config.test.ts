import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { ConfigError } from "@aviary/shared/runtime/config.ts";
import { listen } from "@aviary/shared/runtime/listen.ts";
import { loadShimConfig } from "../src/config.ts";

const MAIN = fileURLToPath(new URL("../src/main.ts", import.meta.url));
const BAD_FLEET = "fleets: { f: { gateways: [{ name: mac-a1, az: az-a, slice: canry }] } }\ncanaries: {}\n";
const BAD_TOKENS = "- { id: ops, sha256: x, caller: operator }\n";

async function directoryOf(test: TestContext, files: Readonly<Record<string, string>>) {
  const directory = await mkdtemp(join(tmpdir(), "aviary-shim-"));
  test.after(() => rm(directory, { recursive: true }));
  for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text);
  return { fleetFile: join(directory, "aviary.yaml"), tokensFile: join(directory, "tokens.yaml") };
}

async function problemsWith(test: TestContext, files: Readonly<Record<string, string>>): Promise<string[]> {
  const paths = await directoryOf(test, files);
  const error = await loadShimConfig(paths, Date.now()).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof ConfigError, String(error));
  return error.message.replaceAll(/\S*aviary-shim-[^/]*\//g, "").split("\n");
}

describe("the shim configuration", () => {
  it("reports the problems of the fleet file and of the token file at once", async (test) => {
    const found = await problemsWith(test, { "aviary.yaml": BAD_FLEET, "tokens.yaml": BAD_TOKENS });
    assert.match(found[0]!, /^aviary\.yaml:1: fleets\.f\.gateways\[0\]\.slice: found "canry"/);
    assert.match(found.at(-1)!, /^tokens\.yaml:1: \[0\]\.sha256: /);
  });

  it("names the variables of missing files", async (test) => {
    assert.deepEqual(await problemsWith(test, {}), [
      "fleet file aviary.yaml not found; set AVIARY_FLEET_FILE",
      "token file tokens.yaml not found; set AVIARY_TOKENS_FILE",
    ]);
  });
});

describe("the shim process", () => {
  it("reports every problem of its files before it connects to the broker", async (test) => {
    let connections = 0;
    const broker = createServer((socket) => {
      connections += 1;
      socket.destroy();
    });
    await listen(broker, { host: "127.0.0.1", port: 0, who: "the broker", variables: "none" });
    test.after(() => new Promise((resolve) => broker.close(resolve)));
    const { port } = broker.address() as { port: number };
    const { fleetFile, tokensFile } = await directoryOf(test, { "aviary.yaml": BAD_FLEET });
    const { code, output } = await runShim({
      AVIARY_FLEET_FILE: fleetFile,
      AVIARY_TOKENS_FILE: tokensFile,
      AVIARY_NATS_URL: `nats://127.0.0.1:${port}`,
      AVIARY_OPS_PORT: "0",
    });
    assert.equal(code, 1, output);
    assert.match(output, /canry/);
    assert.match(output, /AVIARY_TOKENS_FILE/);
    assert.equal(connections, 0);
  });
});

async function runShim(env: Readonly<Record<string, string>>): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, [MAIN], { env: { PATH: process.env.PATH, ...env } });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += String(chunk)));
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  return { code, output };
}
