import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Command } from "@aviary/shared/commands/command.ts";
import { runCommand } from "@aviary/shared/commands/program.ts";
import { temporaryDirectory } from "@aviary/shared/testing/temporary.ts";
import { diffPolicyCommand } from "../src/commands/diff-policy.ts";
import { explainCommand } from "../src/commands/explain.ts";
import { recordCommand } from "../src/commands/record.ts";
import { replayCommand } from "../src/commands/replay.ts";

const FLEET_FILE = fileURLToPath(new URL("../../../examples/fleet/config/aviary.yaml", import.meta.url));

async function run(command: Command, words: readonly string[]): Promise<{ code: number; stderr: string }> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const code = await runCommand(command, words, { stdout, stderr, env: {}, signal: new AbortController().signal });
  return { code, stderr: (stderr.read() as Buffer | null)?.toString() ?? "" };
}

const record = (out: string, fleetFile: string) =>
  run(recordCommand, ["--since", "1h", "--out", out, "--note", "a test", "--fleet", fleetFile]);

test("replay names a recording that does not exist", async () => {
  const { code, stderr } = await run(replayCommand, ["/nowhere/case", "--fleet", FLEET_FILE]);
  assert.equal(code, 1);
  assert.equal(stderr, "/nowhere/case: not found; name a case folder or a file of recorded messages\n");
});

test("explain rejects a text that cannot be the id of a verdict", async () => {
  const { code, stderr } = await run(explainCommand, ["29507", "--fleet", FLEET_FILE]);
  assert.equal(code, 2);
  assert.match(stderr, /^verdict 29507: expected 6 to 16 hex digits\n/);
});

test("diff-policy rejects a policy whose window differs from every canary's, before it contacts the broker", async (t) => {
  const policy = join(await temporaryDirectory(t), "policy.yaml");
  await writeFile(policy, "window: 7m\n");
  const { code, stderr } = await run(diffPolicyCommand, ["--policy", policy, "--fleet", FLEET_FILE]);
  assert.equal(code, 2);
  assert.match(stderr, /^the policy's window is 7m and the recorded windows are \S+; recorded windows cannot be judged/);
});

test("record never overwrites a file or a folder that is not empty", async (t) => {
  const directory = await temporaryDirectory(t);
  const existing = join(directory, "note.md");
  await writeFile(existing, "an older case");
  const intoFolder = await record(directory, FLEET_FILE);
  assert.equal(intoFolder.code, 2);
  assert.match(intoFolder.stderr, /the folder is not empty; name a new one/);
  const intoFile = await record(existing, FLEET_FILE);
  assert.equal(intoFile.code, 2);
  assert.match(intoFile.stderr, /a file exists at this path/);
  assert.equal(await readFile(existing, "utf8"), "an older case");
});

test("record rejects a policy outside the folder of the fleet file, and writes nothing", async (t) => {
  const directory = await temporaryDirectory(t);
  await mkdir(join(directory, "config"));
  await writeFile(join(directory, "strict.yaml"), "");
  const fleet = (await readFile(FLEET_FILE, "utf8")).replaceAll(/policy: [^\s,}]+/g, "policy: ../strict.yaml");
  const fleetFile = join(directory, "config", "aviary.yaml");
  await writeFile(fleetFile, fleet);
  const out = join(directory, "case");
  const { code, stderr } = await record(out, fleetFile);
  assert.equal(code, 2);
  assert.match(stderr, /the policy \.\.\/strict\.yaml is outside the folder of the fleet file/);
  assert.equal(existsSync(out), false);
});
