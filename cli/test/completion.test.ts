// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the texts are shell scripts
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
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

test("commands, options and known values are suggested in their places", async () => {
  assert.deepEqual(await valuesFor("st"), ["status", "streams"]);
  assert.deepEqual(await valuesFor("run", "p"), ["pause"]);
  assert.deepEqual(await valuesFor("streams", ""), ["print", "diff", "apply"]);
  assert.deepEqual(await valuesFor("run", "start", "--"), [
    "--revision",
    "--skill-hash",
    "--gateway-version",
    "--fleet",
    "--output",
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

/** Runs a script in a shell that has `aviary` on its path, and returns the lines that it prints. */
async function linesOf(t: TestContext, shell: string, flags: readonly string[], script: string): Promise<string[]> {
  const directory = await directoryWithAviary(t);
  const { stdout, stderr } = spawnSync(shell, [...flags, script], {
    encoding: "utf8",
    cwd: directory,
    env: { ...process.env, PATH: `${directory}:${process.env.PATH}` },
  });
  assert.equal(stderr, "");
  assert.equal(existsSync(join(directory, "injected")), false, "words are arguments and are not evaluated");
  return stdout.split("\n").filter((line) => line !== "");
}

const quoted = (words: readonly string[]): string => words.map((word) => `'${word}'`).join(" ");

/**
 * A developer's machine and CI always have bash. The other scripts are checked by their own shell if it is installed, and by the
 * last test.
 */
const isInstalled = (shell: string): boolean => spawnSync(shell, ["--version"]).error === undefined;

test("bash completes through the printed script", async (t) => {
  const complete = (...words: string[]) =>
    linesOf(
      t,
      "bash",
      ["--norc", "-euo", "pipefail", "-c"],
      [
        'eval "$(aviary completion bash)"',
        `COMP_WORDS=(${quoted(["aviary", ...words])})`,
        `COMP_CWORD=${words.length}`,
        "_aviary",
        'printf "%s\\n" "${COMPREPLY[@]}"',
      ].join("\n"),
    );
  assert.deepEqual(await complete("st"), ["status", "streams"]);
  assert.deepEqual(await complete("run", "show", "-o", "w"), ["wide"]);
  assert.deepEqual(await complete("status", "--output", "=", "j"), ["json"]);
  assert.deepEqual(await complete("run", "$(touch injected)"), []);
});

if (isInstalled("zsh"))
  test("zsh completes through the printed script", async (t) => {
    // The functions of zsh's completion system, replaced by ones that print what they receive.
    const stubs = 'compdef() { :; }\n_files() { print :files }\n_describe() { print -l -- "${(@P)4}" }';
    const complete = (...words: string[]) =>
      linesOf(
        t,
        "zsh",
        ["-f", "-c"],
        [
          stubs,
          'eval "$(aviary completion zsh)"',
          `words=(${quoted(["aviary", ...words])})`,
          `CURRENT=${words.length + 1}`,
          "_aviary",
        ].join("\n"),
      );
    assert.deepEqual(await complete("run", "show", "-o", "w"), ["wide:"]);
    assert.deepEqual(
      (await complete("st")).map((line) => line.split(":")[0]),
      ["status", "streams"],
    );
    assert.deepEqual(await complete("config", "check", "aviary.yaml", ""), [":files"]);
    assert.deepEqual(await complete("run", "$(touch injected)"), []);
  });

if (isInstalled("fish"))
  test("fish completes through the printed script", async (t) => {
    const complete = (line: string) =>
      linesOf(t, "fish", ["--no-config", "-c"], `aviary completion fish | source\ncomplete -C '${line}'`);
    assert.deepEqual(await complete("aviary run show -o w"), ["wide"]);
    assert.deepEqual(
      (await complete("aviary st")).map((line) => line.split("\t")[0]),
      ["status", "streams"],
    );
    assert.deepEqual(await complete("aviary config check avi"), ["aviary"]);
    assert.deepEqual(await complete("aviary run \\$(touch injected)"), []);
  });

test("every shell has a script that passes the words to the hidden command, leaves files to the shell and registers itself", () => {
  const registrations = {
    bash: /^complete .*-F _aviary aviary$/m,
    zsh: /compdef _aviary aviary$/m,
    fish: /^complete -c aviary /m,
  };
  assert.deepEqual(Object.keys(COMPLETION_SCRIPTS), Object.keys(registrations));
  for (const [shell, script] of Object.entries(COMPLETION_SCRIPTS)) {
    assert.match(script, / __complete /);
    assert.match(script, /":files"/);
    assert.match(script, registrations[shell as keyof typeof registrations]);
  }
});
