/** `aviary fleet …` from the command line: output, changes and errors. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { describe, it, test } from "node:test";
import { FLEET_VERBS } from "../src/commands/fleet.ts";
import { readGatewayControl, readRollout } from "../src/desired-state.ts";
import { resetFleet, stableVersion } from "../src/faults.ts";
import { startGatewayOf } from "../src/gateway.ts";
import { type FleetPlan, places, writeJson } from "../src/layout.ts";
import { makePlan } from "../src/make-plan.ts";
import { testPlan } from "./plan.ts";

async function runLine(plan: FleetPlan, line: string): Promise<{ code: number; out: string; err: string }> {
  const command = FLEET_VERBS.find(({ name }) => line === name || line.startsWith(`${name} `));
  assert.ok(command, `no command for ${line}`);
  const rest = line
    .slice(command.name.length)
    .split(" ")
    .filter((word) => word !== "");
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const code = await command.run([...rest, "--directory", plan.directory], {
    stdout,
    stderr,
    env: {},
    signal: new AbortController().signal,
  });
  stdout.end();
  stderr.end();
  return { code, out: await text(stdout), err: await text(stderr) };
}

async function writtenPlan(): Promise<FleetPlan & Disposable> {
  const plan = await testPlan();
  writeJson(places.plan(plan.directory), plan);
  resetFleet(plan, 20);
  return plan;
}

describe("aviary fleet", () => {
  it("fault injects a fault, and heal removes it", async () => {
    using plan = await writtenPlan();
    const injected = await runLine(plan, "fleet fault 5xx --az az-b --slice canary");
    assert.deepEqual([injected.code, injected.out], [0, "5xx: one in five work requests returns 500 (mac-b1)\n"]);
    assert.equal(readGatewayControl(plan, "mac-b1").errorRatio, 0.2);
    assert.match(injected.err, /no gateway is listening: the change applies at the next/);
    assert.equal((await runLine(plan, "fleet heal")).code, 0);
    assert.equal(readGatewayControl(plan, "mac-b1").errorRatio, 0);
  });

  it("release, restore, promote and weight change the desired state", async () => {
    using plan = await writtenPlan();
    await runLine(plan, "fleet release 2026.9.9");
    assert.equal(readGatewayControl(plan, "mac-c1").version, "2026.9.9");
    assert.match((await runLine(plan, "fleet restore")).out, /restored 2026\.9\.6/);
    assert.equal(readGatewayControl(plan, "mac-c1").version, "2026.9.6");
    await runLine(plan, "fleet release 2026.9.9");
    await runLine(plan, "fleet promote");
    assert.equal(stableVersion(plan), "2026.9.9");
    await runLine(plan, "fleet weight 55");
    assert.equal(readRollout(plan).weight, 55);
  });

  it("status shows each gateway with its release, readiness and faults", async () => {
    using plan = await writtenPlan();
    const gateway = await startGatewayOf(plan, "mac-a1");
    try {
      const injected = await runLine(plan, "fleet fault dead --gateway mac-c2");
      assert.equal(injected.err, "", "one gateway is listening");
      const shown = await runLine(plan, "fleet status --json");
      const status = JSON.parse(shown.out) as { weight: number; gateways: { gateway: string; faults: string[] }[] };
      assert.equal(status.weight, 20);
      assert.deepEqual(status.gateways.find(({ gateway: name }) => name === "mac-c2")?.faults, ["dead"]);
      assert.match((await runLine(plan, "fleet status")).out, /^mac-c2 +az-c +stable +2026\.9\.6 +down +dead$/m);
    } finally {
      await gateway.stop();
    }
  });

  it("an invalid call fails with the reason and the fix", async () => {
    using plan = await writtenPlan();
    assert.deepEqual((await runLine(plan, "fleet fault flood")).code, 1);
    const missingArgument = await runLine(plan, "fleet release");
    assert.deepEqual(
      [missingArgument.code, missingArgument.err],
      [2, '"fleet release" takes 1 argument, got 0\nusage: aviary fleet release <version>\n'],
    );
    assert.equal((await runLine(plan, "fleet fault 5xx --slice blue")).code, 2);
    assert.match((await runLine(plan, "fleet weight many")).err, /0 to 100/);
    const withoutPlan = { ...plan, directory: `${plan.directory}/none` };
    assert.match((await runLine(withoutPlan, "fleet heal")).err, /start the local fleet first with `npm start`/);
  });
});

test("planning reports every problem of the fleet file and its policies at once", async () => {
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
