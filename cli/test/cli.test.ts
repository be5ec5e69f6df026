import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { COMMANDS } from "../src/commands.ts";
import { withLocalFleet } from "../src/local-fleet.ts";

const BIN = fileURLToPath(new URL("../bin/aviary.mjs", import.meta.url));
const aviary = (...args: string[]) =>
  spawnSync(process.execPath, [BIN, ...args], {
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1", AVIARY_URL: "http://127.0.0.1:1", AVIARY_TOKEN: "x" },
  });

test("every verb of the list loads, and calls itself what the list calls it", async () => {
  for (const entry of COMMANDS) {
    const verb = await entry.load();
    assert.equal(verb.name, entry.name);
    assert.ok(verb.usage.startsWith(entry.name), `${entry.name}: usage says ${verb.usage}`);
    assert.ok(verb.summary.length > 0);
  }
  assert.equal(new Set(COMMANDS.map((entry) => entry.name)).size, COMMANDS.length);
});

test("help lists every verb; a wrong word is answered with the nearest one and exit code 2", () => {
  const help = aviary("--help");
  assert.equal(help.status, 0);
  for (const { name } of COMMANDS) assert.ok(help.stdout.includes(`  ${name} `), name);
  const wrong = aviary("statsu");
  assert.equal(wrong.status, 2);
  assert.match(wrong.stderr, /did you mean "status"\?/);
  assert.match(aviary("run").stderr, /run show, run start/);
  assert.equal(aviary("run", "start", "--help").status, 0);
  const family = aviary("run", "--help");
  assert.equal(family.status, 0);
  assert.match(family.stdout, /^ {2}run pause /m);
  assert.doesNotMatch(family.stdout, /^ {2}status /m);
});

test("a broker that is none is told by the variable that names it, and nothing keeps the command from ending", async (t) => {
  // It takes connections, as a server of another protocol does, and never says a word.
  const mute = createServer().listen(0, "127.0.0.1");
  await once(mute, "listening");
  t.after(() => mute.close());
  const url = `nats://127.0.0.1:${(mute.address() as AddressInfo).port}`;
  const fleet = fileURLToPath(new URL("../../examples/fleet/config/aviary.yaml", import.meta.url));
  const { status, stderr } = spawnSync(process.execPath, [BIN, "streams", "diff", "--fleet", fleet], {
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1", AVIARY_NATS_URL: url },
    timeout: 60_000,
  });
  assert.equal(status, 1, stderr);
  assert.equal(stderr, `connecting to ${url}: timeout; AVIARY_NATS_URL says where the broker is\n`);
});

test("an address that is none is told by its variable", () => {
  const { status, stderr } = spawnSync(process.execPath, [BIN, "status"], {
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1", AVIARY_URL: "nonsense", AVIARY_TOKEN: "x" },
  });
  assert.equal(status, 1);
  assert.match(stderr, /^AVIARY_URL is "nonsense": expected a URL/);
});

test("a shim that does not answer is one line and exit code 1", () => {
  const refused = aviary("status");
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /127\.0\.0\.1:1.*AVIARY_URL says where the shim is/);
  assert.equal(refused.stderr.trim().split("\n").length, 1);
});

test("the local fleet is used as a whole or not at all", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "aviary-cli-"));
  t.after(() => rm(directory, { recursive: true }));
  const file = join(directory, "cli.json");
  const fleet = { AVIARY_URL: "http://127.0.0.1:1", AVIARY_TOKEN: "local", AVIARY_NATS_URL: "nats://127.0.0.1:2" };
  await writeFile(file, JSON.stringify(fleet));
  assert.deepEqual(await withLocalFleet({}, file), { ...fleet, AVIARY_LOCAL_STREAMS: "1" });
  assert.equal((await withLocalFleet({ AVIARY_TOKEN: "mine" }, file)).AVIARY_TOKEN, "mine");
  for (const env of [{ AVIARY_URL: "https://canary.gw.example" }, { AVIARY_NATS_URL: "nats://nats.example" }])
    assert.deepEqual(await withLocalFleet(env, file), env, "a command would go to two places");
  assert.deepEqual(await withLocalFleet({}, join(directory, "none.json")), {});
});
