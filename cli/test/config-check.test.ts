import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { LocalFleetSettings } from "@aviary/shared/commands/command.ts";
import { runCommand } from "@aviary/shared/commands/program.ts";
import { checkConfigCommand } from "../src/commands/config-check.ts";
import { testTerminal } from "./terminal.ts";

const EXAMPLES = fileURLToPath(new URL("../../examples/fleet/config/", import.meta.url));
const HASH = "0".repeat(64);

async function check(words: readonly string[], env: NodeJS.ProcessEnv = {}, localFleet?: LocalFleetSettings) {
  const terminal = testTerminal({ ...env, ...localFleet?.variables });
  const io = { ...terminal.io, ...(localFleet === undefined ? {} : { localFleet }) };
  const code = await runCommand(checkConfigCommand, words, io);
  return { code, stdout: terminal.stdout(), stderr: terminal.stderr() };
}

async function directoryOf(t: TestContext, files: Readonly<Record<string, string>>): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "aviary-config-"));
  t.after(() => rm(directory, { recursive: true }));
  await mkdir(join(directory, "conf.d"));
  for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text);
  return directory;
}

test("the example fleet and its policies pass", async () => {
  const fleet = join(EXAMPLES, "aviary.yaml");
  assert.deepEqual(await check([fleet]), { code: 0, stdout: `Checking ${fleet} (fleet)\n  SUCCESS\n`, stderr: "" });
});

test("every kind of file is detected from its keys, and every problem of every file is reported with its line", async (t) => {
  const directory = await directoryOf(t, {
    "aviary.yaml":
      "fleets: { f: { gateways: [{ name: mac-a1, az: az-a, slice: canry }] } }\ncanaries: { n/c: { fleet: f, policy: p.yaml } }\n",
    "p.yaml": "windw: 10s\nmode: never\n",
    "collector.yaml": "az: az-a\nfleet: f\ngateway: g\nslice: stable\nprobes:\n  disc: {}\n",
    "conf.d/shared.yaml": "az: az-b\n",
    "tokens.yaml": `- { id: ops, sha256: "${HASH}", caller: operator }\n- { id: other, sha256: "${HASH}", caller: operator }\n`,
  });
  const names = ["aviary.yaml", "p.yaml", "collector.yaml", "tokens.yaml"].map((name) => join(directory, name));
  const { code, stdout } = await check(names);
  assert.equal(code, 1);
  const lines = stdout.replaceAll(`${directory}/`, "").trimEnd().split("\n");
  assert.deepEqual(
    lines.filter((line) => /^(Checking| {2}FAILED)/.test(line)),
    [
      "Checking aviary.yaml (fleet)",
      "  FAILED: 3 problems",
      "Checking p.yaml (policy)",
      "  FAILED: 2 problems",
      "Checking collector.yaml (collector)",
      "  FAILED: 2 problems",
      "Checking tokens.yaml (tokens)",
      "  FAILED: 1 problem",
    ],
    stdout,
  );
  for (const expected of [
    /^ {4}aviary\.yaml:1: fleets\.f\.gateways\[0\]\.slice: .*"canry"/,
    /^ {4}p\.yaml:1: windw: .*"window"/,
    /^ {4}p\.yaml:2: mode: .*"never"/,
    /^ {4}collector\.yaml:6: probes\.disc: .*"disk"/,
    /^ {4}conf\.d\/shared\.yaml:1: az: /,
    /^ {4}tokens\.yaml:2: \[1\]\.sha256: /,
  ])
    assert.ok(
      lines.some((line) => expected.test(line)),
      `${expected} in\n${stdout}`,
    );
});

test("problems fit the terminal", async (t) => {
  const directory = await directoryOf(t, { "p.yaml": "windw: 10s\nmode: never\n" });
  const terminal = testTerminal();
  Object.assign(terminal.io.stdout, { isTTY: true, columns: 80 });
  assert.equal(await runCommand(checkConfigCommand, [join(directory, "p.yaml")], { ...terminal.io, env: { NO_COLOR: "1" } }), 1);
  const lines = terminal.stdout().trimEnd().split("\n").slice(2);
  assert.ok(lines.length > 2, "two problems on more than two lines");
  for (const line of lines) assert.ok(line.length <= 80 || !line.trim().includes(" "), line);
});

test("-o json reports the same problems as values", async (t) => {
  const directory = await directoryOf(t, { "p.yaml": "windw: 10s\n", "broken.yaml": "a: [\n" });
  const files = [join(directory, "p.yaml"), join(directory, "broken.yaml"), join(directory, "absent.yaml")];
  const { code, stdout } = await check(["-o", "json", ...files]);
  assert.equal(code, 1);
  const reports = (JSON.parse(stdout) as { files: { file: string; kind: string | null; ok: boolean; problems: object[] }[] })
    .files;
  assert.deepEqual(
    reports.map(({ file, kind, ok }) => [file, kind, ok]),
    [
      [files[0], "policy", false],
      [files[1], null, false],
      [files[2], null, false],
    ],
  );
  assert.deepEqual(
    reports[0]?.problems.map((problem) => Object.keys(problem)),
    [["source", "line", "path", "found", "expected"]],
  );
});

test("--kind overrides the detection", async (t) => {
  const directory = await directoryOf(t, { "empty.yaml": "" });
  const file = join(directory, "empty.yaml");
  assert.equal((await check(["--kind", "policy", file])).code, 0, "an empty policy is valid and has only defaults");
  const { code, stdout } = await check(["--kind", "fleet", file]);
  assert.equal(code, 1);
  assert.match(stdout, /\(fleet\)\n {2}FAILED/);
});

test("a file without keys is rejected unless its kind is given, never treated as a policy", async (t) => {
  const directory = await directoryOf(t, {
    "empty.yaml": "",
    "comment.yaml": "# later\n",
    "braces.yaml": "{}\n",
    "text.yaml": "hello world\n",
    "number.yaml": "42\n",
    "aviary.yaml": "",
  });
  const reports = async (name: string) => {
    const { code, stdout } = await check(["-o", "json", join(directory, name)]);
    return { code, file: (JSON.parse(stdout) as { files: { kind: string | null; problems: { found: string }[] }[] }).files[0] };
  };
  for (const name of ["empty.yaml", "comment.yaml", "braces.yaml", "text.yaml", "number.yaml", "aviary.yaml"]) {
    const { code, file } = await reports(name);
    assert.equal(code, 1, name);
    assert.equal(file?.kind, name === "aviary.yaml" ? "fleet" : null, name);
    assert.match(file?.problems[0]?.found ?? "", /^(an empty file|neither keys nor a list)$/, name);
  }
});

test("without arguments, a running local fleet's file is not checked in place of one in the current directory", async () => {
  const localFleet = { variables: { AVIARY_FLEET_FILE: join(EXAMPLES, "aviary.yaml") }, hasBroker: true };
  const { code, stdout, stderr } = await check([], {}, localFleet);
  assert.equal(code, 2, stdout);
  assert.match(stderr, /^no aviary\.yaml, collector\.yaml or tokens\.yaml in this directory; name the files to check/);
});

test("without arguments, the files named by the services' environment variables are checked", async (t) => {
  const directory = await directoryOf(t, { "mine.yaml": "- {}\n" });
  const { code, stdout } = await check([], { AVIARY_TOKENS_FILE: join(directory, "mine.yaml") });
  assert.equal(code, 1);
  assert.match(stdout, /mine\.yaml \(tokens\)\n {2}FAILED: 3 problems/);
});

test("a fragment is rejected, and the error names the collector.yaml to check instead", async (t) => {
  const directory = await directoryOf(t, { "conf.d/shared.yaml": "probes: {}\n" });
  const { code, stdout } = await check([join(directory, "conf.d", "shared.yaml")]);
  assert.equal(code, 1);
  assert.match(stdout, /a fragment is checked together with its collector\.yaml; check that file instead/);
});
