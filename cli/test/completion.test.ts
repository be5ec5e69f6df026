// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the texts are shell scripts
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { COMMANDS, GROUPS } from "../src/commands.ts";
import { COMPLETION_SCRIPTS } from "../src/completion/scripts.ts";
import { suggestionLines } from "../src/completion/suggest.ts";

const BIN = fileURLToPath(new URL("../bin/aviary.mjs", import.meta.url));

/** The suggested values for a command line; the last word is being typed. */
async function valuesFor(...words: string[]): Promise<string[]> {
  const lines = await suggestionLines(COMMANDS, GROUPS, words);
  return lines
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.split("\t")[0]!);
}

test("commands, options and known values are suggested where they belong", async () => {
  assert.deepEqual(await valuesFor("st"), ["status", "streams"]);
  assert.deepEqual(await valuesFor("run", "p"), ["pause"]);
  assert.deepEqual(await valuesFor("streams", ""), ["print", "diff", "apply"]);
  assert.deepEqual(await valuesFor("run", "start", "--"), [
    "--revision",
    "--skill-hash",
    "--gateway-version",
    "--fleet",
    "--help",
  ]);
  assert.deepEqual(await valuesFor("status", "-o", ""), ["table", "wide", "json"]);
  assert.deepEqual(await valuesFor("signals", "tail", "--kind", "d"), ["disk", "doctor", "deps"]);
  assert.deepEqual(await valuesFor("collector", "probe", "sk"), ["skills"]);
  assert.deepEqual(await valuesFor("fleet", "fault", "--az", "az-b", "5"), ["5xx"]);
  assert.deepEqual(await valuesFor("nosuch", ""), []);
});

test("a value after an equals sign is completed in one word and in the three words of bash", async () => {
  assert.deepEqual(await valuesFor("status", "--output=j"), ["--output=json"]);
  assert.deepEqual(await valuesFor("status", "--output", "=", "j"), ["json"]);
  assert.deepEqual(await valuesFor("status", "--output", "="), ["table", "wide", "json"]);
});

test("file names are left to the shell", async () => {
  assert.deepEqual(await valuesFor("config", "check", "aviary.yaml", ""), [":files"]);
  assert.deepEqual(await valuesFor("diff-policy", "--policy", ""), [":files"]);
});

/** A directory whose `aviary` is the checkout's. */
async function directoryWithAviary(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "aviary-completion-"));
  t.after(() => rm(directory, { recursive: true }));
  const path = join(directory, "aviary");
  await writeFile(path, `#!/bin/sh\nexec "${process.execPath}" "${BIN}" "$@"\n`);
  await chmod(path, 0o755);
  return directory;
}

test("bash completes through the printed script", async (t) => {
  const directory = await directoryWithAviary(t);
  const complete = (...words: string[]): string[] => {
    const script = [
      'eval "$(aviary completion bash)"',
      `COMP_WORDS=(${["aviary", ...words].map((word) => `'${word}'`).join(" ")})`,
      `COMP_CWORD=${words.length}`,
      "_aviary",
      'printf "%s\\n" "${COMPREPLY[@]}"',
    ].join("\n");
    const { stdout, stderr } = spawnSync("bash", ["--norc", "-euo", "pipefail", "-c", script], {
      encoding: "utf8",
      env: { ...process.env, PATH: `${directory}:${process.env.PATH}` },
    });
    assert.equal(stderr, "");
    return stdout.split("\n").filter((line) => line !== "");
  };
  assert.deepEqual(complete("st"), ["status", "streams"]);
  assert.deepEqual(complete("run", "show", "-o", "w"), ["wide"]);
  assert.deepEqual(complete("status", "--output", "=", "j"), ["json"]);
  assert.deepEqual(complete("run", "$(touch injected)"), [], "words are arguments and are not evaluated");
});

test("every shell has a script that asks the hidden command", () => {
  assert.deepEqual(Object.keys(COMPLETION_SCRIPTS), ["bash", "zsh", "fish"]);
  for (const script of Object.values(COMPLETION_SCRIPTS)) assert.match(script, / __complete /);
});
