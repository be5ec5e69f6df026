/** `aviary fleet …` from the command line: output, changes and rejected calls. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { describe, it, test } from "node:test";
import { runCommand } from "@aviary/shared/commands/program.ts";
import { FLEET_COMMANDS } from "../src/commands/fleet.ts";
import { readDesiredGateway, readDesiredRollout } from "../src/desired-state.ts";
import { resetFleet, stableVersion } from "../src/faults.ts";
import { startGatewayOf } from "../src/gateway.ts";
import { type FleetPlan, paths, writeJson } from "../src/layout.ts";
import { makePlan } from "../src/make-plan.ts";
import { testPlan } from "./plan.ts";

async function type(plan: FleetPlan, line: string): Promise<{ code: number; out: string; err: string }> {
  const command = FLEET_COMMANDS.find(({ name }) => line === name || line.startsWith(`${name} `));
  assert.ok(command, `no command for ${line}`);
  const rest = line
    .slice(command.name.length)
    .split(" ")
    .filter((word) => word !== "");
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const code = await runCommand(command, [...rest, "--directory", plan.directory], {
    stdout,
    stderr,
    env: {},
    signal: new AbortController().signal,
  });
  stdout.end();
  stderr.end();
  return { code, out: await text(stdout), err: await text(stderr) };
}

async function fleet(): Promise<FleetPlan & Disposable> {
  const plan = await testPlan();
  writeJson(paths.plan(plan.directory), plan);
  resetFleet(plan, 20);
  return plan;
}

describe("aviary fleet", () => {
  it("injects faults and removes them", async () => {
    using plan = await fleet();
    const given = await type(plan, "fleet fault 5xx --az az-b --slice canary");
    assert.deepEqual([given.code, given.out], [0, "5xx: one in five work requests returns 500 (mac-b1)\n"]);
    assert.equal(readDesiredGateway(plan, "mac-b1").errorRatio, 0.2);
    assert.match(given.err, /no gateway is running; the change applies at the next `npm start`/);
    assert.equal((await type(plan, "fleet heal")).code, 0);
    assert.equal(readDesiredGateway(plan, "mac-b1").errorRatio, 0);
  });

  it("changes releases and weight", async () => {
    using plan = await fleet();
    await type(plan, "fleet release 2026.9.9");
    assert.equal(readDesiredGateway(plan, "mac-c1").version, "2026.9.9");
    assert.match((await type(plan, "fleet restore")).out, /back on 2026\.9\.6/);
    assert.equal(readDesiredGateway(plan, "mac-c1").version, "2026.9.6");
    await type(plan, "fleet release 2026.9.9");
    await type(plan, "fleet promote");
    assert.equal(stableVersion(plan), "2026.9.9");
    await type(plan, "fleet weight 55");
    assert.equal(readDesiredRollout(plan).weight, 55);
  });

  it("shows the state of every gateway", async () => {
    using plan = await fleet();
    const gateway = await startGatewayOf(plan, "mac-a1");
    try {
      const given = await type(plan, "fleet fault dead --gateway mac-c2");
      assert.equal(given.err, "", "one of them answers");
      const shown = await type(plan, "fleet status -o json");
      const status = JSON.parse(shown.out) as { weight: number; gateways: { gateway: string; faults: string[] }[] };
      assert.equal(status.weight, 20);
      assert.deepEqual(status.gateways.find(({ gateway: name }) => name === "mac-c2")?.faults, ["dead"]);
      assert.match((await type(plan, "fleet status")).out, /^mac-c2 +az-c +stable +2026\.9\.6 +down +dead$/m);
    } finally {
      await gateway.stop();
    }
  });

  it("rejects invalid calls with a reason and a fix", async () => {
    using plan = await fleet();
    assert.equal((await type(plan, "fleet fault flood")).code, 2);
    const noWord = await type(plan, "fleet release");
    assert.deepEqual(
      [noWord.code, noWord.err],
      [2, 'missing required argument "version"\nRun `aviary fleet release --help` for usage.\n'],
    );
    assert.equal((await type(plan, "fleet fault 5xx --slice blue")).code, 2);
    assert.match((await type(plan, "fleet weight many")).err, /0 to 100/);
    const nowhere = { ...plan, directory: `${plan.directory}/none` };
    assert.match((await type(nowhere, "fleet heal")).err, /start the local fleet first with `npm start`/);
  });
});

test("a fleet is planned only from valid files; all problems of all files are reported at once", async () => {
  const directory = await mkdtemp(join(tmpdir(), "aviary-plan-"));
  try {
    const fleetFile = join(directory, "aviary.yaml");
    const gateways = "[{ name: mac-a1, az: az-a, slice: canry }]";
    await writeFile(fleetFile, `fleets: { f: { gateways: ${gateways} } }\ncanaries: { n/c: { fleet: f, policy: p.yaml } }\n`);
    await writeFile(join(directory, "p.yaml"), "windw: 10s\n");
    const options = { directory, fleetFile, fragments: directory, seed: 1, requestsPerSecond: 1, servers: false } as const;
    const planned = makePlan({ ...options, proxy: "built-in", choosePorts: async () => ({}) });
    await assert.rejects(planned, /aviary\.yaml:1: .*"canry".*p\.yaml:1: windw: .*window/s);
  } finally {
    await rm(directory, { recursive: true });
  }
});
