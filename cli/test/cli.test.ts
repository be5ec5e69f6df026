import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { openBus } from "@aviary/shared/commands/open-bus.ts";
import manifest from "../package.json" with { type: "json" };
import { COMMANDS, GROUPS } from "../src/commands.ts";
import { withLocalFleet } from "../src/local-fleet.ts";
import { testTerminal } from "./terminal.ts";

const BIN = fileURLToPath(new URL("../bin/aviary.mjs", import.meta.url));
const PROJECT = fileURLToPath(new URL("../../", import.meta.url));
const FLEET_FILE = fileURLToPath(new URL("../../examples/fleet/config/aviary.yaml", import.meta.url));
/** Prints the names of all packages that a process has imported when it ends. */
const LOG_PACKAGES = new URL("log-packages.mjs", import.meta.url).href;
const aviary = (...args: string[]) =>
  spawnSync(process.execPath, [BIN, ...args], {
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1", AVIARY_URL: "http://127.0.0.1:1", AVIARY_TOKEN: "x" },
  });

test("help lists every command, at the root or in its group", () => {
  const root = aviary("--help");
  assert.equal(root.status, 0);
  for (const { name, summary } of COMMANDS) {
    const path = name.split(" ");
    const help = path.length === 1 ? root : aviary(path[0]!, "--help");
    assert.equal(help.status, 0);
    assert.match(help.stdout, new RegExp(`^  ${path.at(-1)} `, "m"), name);
    assert.ok(help.stdout.replaceAll(/\s+/g, " ").includes(summary), `${name}: ${summary}`);
  }
  for (const { name, summary } of GROUPS) assert.match(root.stdout, new RegExp(`^  ${name} +${summary}$`, "m"));
});

test("without a command the help is printed and the exit code is 2", () => {
  assert.equal(aviary().status, 2);
  const group = aviary("run");
  assert.equal(group.status, 2);
  assert.match(group.stderr, /^ {2}show \[canary\] /m);
});

test("an unknown command or option exits with 2 and suggests the nearest name", () => {
  const lines: [string[], string][] = [
    [["stauts"], 'unknown command "stauts"; did you mean "status"?\nRun `aviary --help` for usage.\n'],
    [["run", "strat"], 'unknown command "strat"; did you mean "start"?\nRun `aviary run --help` for usage.\n'],
    [
      ["status", "--ouput", "json"],
      'unknown option "--ouput"; did you mean "--output"?\nRun `aviary status --help` for usage.\n',
    ],
  ];
  for (const [words, expected] of lines) {
    const { status, stdout, stderr } = aviary(...words);
    assert.deepEqual({ status, stdout, stderr }, { status: 2, stdout: "", stderr: expected });
  }
});

test("help of an unknown command is a usage error", () => {
  for (const words of [
    ["help", "nope"],
    ["nope", "--help"],
    ["run", "promote", "--help"],
    ["help", "run", "promote"],
    ["run", "promote", "-h"],
  ]) {
    const { status, stdout, stderr } = aviary(...words);
    assert.equal(status, 2, words.join(" "));
    assert.equal(stdout, "");
    assert.match(stderr, /^unknown command "(nope|promote)"/);
  }
  for (const words of [["help"], ["help", "run"], ["run", "--help"]]) assert.equal(aviary(...words).status, 0, words.join(" "));
});

test("the same local fleet is found from every directory", () => {
  const statusIn = (cwd: string) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [BIN, "fleet", "status"], { cwd, encoding: "utf8" });
    return { status, stdout, stderr };
  };
  const expected = statusIn(PROJECT);
  for (const directory of [join(PROJECT, "services", "collector"), tmpdir()]) assert.deepEqual(statusIn(directory), expected);
});

test("--version prints the version of the package", () => {
  assert.equal(aviary("--version").stdout, `${manifest.version}\n`);
});

test("help loads no package except the argument parser", () => {
  for (const words of [["--help"], ["status", "--help"], ["--version"], ["__complete", "run", ""]]) {
    const { status, stderr } = spawnSync(process.execPath, ["--import", LOG_PACKAGES, BIN, ...words], { encoding: "utf8" });
    assert.equal(status, 0, stderr);
    assert.deepEqual(stderr.trim().split("\n"), ["commander"], words.join(" "));
  }
});

test("a server that is not a broker fails the command with the variable of its address, and the process ends", async (t) => {
  // Accepts connections and never responds, like a server of another protocol.
  const silent = createServer().listen(0, "127.0.0.1");
  await once(silent, "listening");
  t.after(() => silent.close());
  const url = `nats://127.0.0.1:${(silent.address() as AddressInfo).port}`;
  const { status, stderr } = spawnSync(process.execPath, [BIN, "streams", "diff", "--fleet", FLEET_FILE], {
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1", AVIARY_NATS_URL: url },
    timeout: 60_000,
  });
  assert.equal(status, 1, stderr);
  assert.equal(stderr, `connecting to ${url}: timeout; AVIARY_NATS_URL is the address of the broker\n`);
});

test("Ctrl-C ends a command that waits for the broker with 130, or with 0 if that is its normal end", async (t) => {
  const silent = createServer().listen(0, "127.0.0.1");
  await once(silent, "listening");
  t.after(() => silent.close());
  const url = `nats://127.0.0.1:${(silent.address() as AddressInfo).port}`;
  const child = spawn(process.execPath, [BIN, "signals", "tail"], { env: { ...process.env, AVIARY_NATS_URL: url } });
  const exited = once(child, "exit");
  await once(silent, "connection");
  child.kill("SIGINT");
  assert.deepEqual(await exited, [0, null], "it runs until it is interrupted");
  const diff = spawn(process.execPath, [BIN, "streams", "diff", "--fleet", FLEET_FILE], {
    env: { ...process.env, AVIARY_NATS_URL: url },
  });
  const diffExited = once(diff, "exit");
  await once(silent, "connection");
  diff.kill("SIGINT");
  assert.deepEqual(await diffExited, [130, null]);
});

test("`help <command>` prints the same as `<command> --help`", () => {
  assert.equal(aviary("help", "run", "start").stdout, aviary("run", "start", "--help").stdout);
  assert.match(aviary("help", "completion").stdout, /one of bash, zsh, fish/);
});

test("an invalid shim address is reported with its variable", () => {
  const { status, stderr } = spawnSync(process.execPath, [BIN, "status"], {
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1", AVIARY_URL: "nonsense", AVIARY_TOKEN: "x" },
  });
  assert.equal(status, 1);
  assert.match(stderr, /^AVIARY_URL is "nonsense": expected a URL/);
});

test("an unreachable shim is reported in one line on stderr with exit code 1", () => {
  const rejected = aviary("status");
  assert.equal(rejected.status, 1);
  assert.match(rejected.stderr, /127\.0\.0\.1:1.*AVIARY_URL is the address of the shim/);
  assert.equal(rejected.stderr.trim().split("\n").length, 1);
});

test("the settings of the local fleet are applied completely or not at all", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "aviary-cli-"));
  t.after(() => rm(directory, { recursive: true }));
  const file = join(directory, "cli.json");
  const fleet = { AVIARY_URL: "http://127.0.0.1:1", AVIARY_TOKEN: "local", AVIARY_NATS_URL: "nats://127.0.0.1:2" };
  await writeFile(file, JSON.stringify(fleet));
  const variables = { ...fleet, AVIARY_LOCAL_STREAMS: "1" };
  const whole = { env: variables, localFleet: { variables, hasBroker: true } };
  assert.deepEqual(await withLocalFleet({}, file), whole);
  assert.deepEqual((await withLocalFleet({ AVIARY_URL: "", AVIARY_NATS_URL: "" }, file)).env, variables, "empty is absent");
  assert.equal((await withLocalFleet({ AVIARY_TOKEN: "mine" }, file)).env.AVIARY_TOKEN, "mine");
  for (const env of [{ AVIARY_URL: "https://canary.gw.example" }, { AVIARY_NATS_URL: "nats://nats.example" }])
    assert.deepEqual(await withLocalFleet(env, file), { env }, "a command would reach two fleets");
  assert.deepEqual(await withLocalFleet({}, join(directory, "none.json")), { env: {} });
  await writeFile(file, "{");
  await assert.rejects(withLocalFleet({}, file), /cli\.json, the settings of the local fleet, is not JSON; delete it/);
});

test("the settings of a fleet without a broker never fall back to the default address", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "aviary-cli-"));
  t.after(() => rm(directory, { recursive: true }));
  const file = join(directory, "cli.json");
  const shim = { AVIARY_URL: "http://127.0.0.1:1", AVIARY_TOKEN: "local" };
  for (const settings of [{ ...shim, AVIARY_NATS_URL: null }, shim]) {
    await writeFile(file, JSON.stringify(settings));
    const environment = await withLocalFleet({}, file);
    assert.deepEqual(environment, { env: shim, localFleet: { variables: shim, hasBroker: false } });
    const terminal = testTerminal(environment.env);
    await assert.rejects(openBus({ ...terminal.io, ...environment }), /^Terminal: the embedded fleet has no broker; start one/);
  }
  const { io } = testTerminal({ AVIARY_URL: "https://canary.gw.example", AVIARY_NATS_URL: "" });
  await assert.rejects(openBus(io), /set AVIARY_NATS_URL .*, the broker of the fleet that AVIARY_URL selects/);
  await assert.rejects(openBus(testTerminal().io), /^Terminal: set AVIARY_NATS_URL/, "whatever listens at the default address");
});
