import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { ConfigError } from "../../src/runtime/config.ts";
import { loadFleet } from "../../src/runtime/fleet-config.ts";

const FLEET = `
fleets:
  payments:
    gateways: [{ name: mac-a1, az: az-a, slice: canary }, { name: mac-a2, az: az-a, slice: stable }]
canaries:
  prod/payments-gateway: { fleet: payments, policy: policies/strict.yaml }
  prod/search-gateway: { fleet: payments, policy: policies/default.yaml }
  stage/search-gateway: { fleet: payments, policy: policies/default.yaml }
`;

let directory = "";
const write = (name: string, text: string): Promise<void> => writeFile(join(directory, name), text);
const load = () => loadFleet(join(directory, "aviary.yaml"));
const problems = async (): Promise<string[]> => {
  const error = await load().then(
    () => assert.fail("the fleet was loaded"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof ConfigError);
  return error.problems.map((problem) => {
    const what = "reason" in problem ? problem.reason : problem.found;
    return `${problem.source.slice(directory.length + 1)} ${problem.path} ${what}`;
  });
};

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "aviary-fleet-"));
  await mkdir(join(directory, "policies"));
  await write("aviary.yaml", FLEET);
  await write("policies/default.yaml", "");
  await write("policies/strict.yaml", "mode: literal\nwindow: 1m\n");
});
afterEach(() => rm(directory, { recursive: true }));

describe("a fleet and its policies", () => {
  it("are read relative to the fleet file; an empty policy is the default policy", async () => {
    const { fleet, policies, policyHash } = await load();
    assert.equal(fleet.fleets.payments?.gateways[0]?.tier, "1TB");
    assert.deepEqual([...policies.keys()], Object.keys(fleet.canaries));
    assert.deepEqual(
      [policies.get("prod/payments-gateway")?.mode, policies.get("prod/payments-gateway")?.windowMs],
      ["literal", 60_000],
    );
    assert.equal(policies.get("prod/search-gateway"), policies.get("stage/search-gateway"));
    assert.match(policyHash, /^[0-9a-f]{64}$/);
  });

  it("have a hash of their content, independent of formatting", async () => {
    const { policyHash } = await load();
    await write("policies/default.yaml", "# nothing but a comment\nmode: two-key\n");
    assert.equal((await load()).policyHash, policyHash);
    await write("policies/default.yaml", "mode: literal\n");
    assert.notEqual((await load()).policyHash, policyHash);
  });

  it("report every problem of every file at once", async () => {
    await write("aviary.yaml", `${FLEET}\nlanez: {}\n`);
    await write("policies/default.yaml", "mode: harsh\nwindow: soon\n");
    await write("policies/strict.yaml", "mode: [\n");
    const found = await problems();
    assert.equal(found.filter((line) => line.startsWith("aviary.yaml lanez")).length, 1, found.join("\n"));
    assert.equal(found.filter((line) => line.startsWith("policies/default.yaml")).length, 2, found.join("\n"));
    assert.ok(
      found.some((line) => line.startsWith("policies/strict.yaml") && line.includes("invalid YAML")),
      found.join("\n"),
    );
  });

  it("report the valid values for an inconsistent reference", async () => {
    const lanes = "lanes: { build: { az: az-a, slice: canary, min: 5, stableMax: 2 } }\n";
    await write("aviary.yaml", `${FLEET.replace("fleet: payments,", "fleet: paymnts, lanes: [bild],")}${lanes}`);
    await assert.rejects(load(), (error: Error) => {
      assert.match(error.message, /yaml:9: lanes\.build\.min: found 5, expected at most the value of stableMax/);
      assert.match(error.message, /yaml:6: .*\.fleet: found "paymnts", expected the name of a fleet of this file: payments/);
      assert.match(error.message, /yaml:6: .*\.lanes\[0\]: found "bild", expected the name of a lane of this file: build/);
      return true;
    });
  });

  it("report a lane in an AZ without a gateway", async () => {
    const lane = (az: string) => `lanes: { build: { az: ${az}, slice: canary, stableMax: 2 } }\n`;
    const named = FLEET.replace("fleet: payments,", "fleet: payments, lanes: [build],");
    for (const fleet of [named, FLEET]) {
      await write("aviary.yaml", fleet + lane("az-z"));
      await assert.rejects(load(), /lanes\.build\.az: found "az-z", expected an AZ in which the fleet has a gateway: az-a/);
      await write("aviary.yaml", fleet + lane("az-a"));
      await load();
    }
  });

  it("report bad references and comparisons even if other keys are invalid", async () => {
    const lanes = "lanes: { build: { az: az-a, slice: canary, min: 5, stableMax: 2, tipo: x } }\n";
    const twice = FLEET.replace(
      "{ name: mac-a2, az: az-a, slice: stable }",
      "{ name: mac-a1, az: az-a, slice: staple }, { name: 7 }",
    );
    await write("aviary.yaml", `${twice.replace("fleet: payments,", "fleet: paymnts, lanes: [bild],")}${lanes}`);
    await write("policies/default.yaml", "disk: { 1TB: { yellow: 0.95, red: 0.9, mauve: 1 } }\n");
    await assert.rejects(load(), (error: Error) => {
      for (const expected of [
        /gateways\[1\]\.name: .*expected a unique name: gateway az-a\/mac-a1 is listed twice/,
        /gateways\[1\]\.slice: found "staple"/,
        /gateways\[2\]\.name: found 7/,
        /\.fleet: found "paymnts", expected the name of a fleet of this file: payments/,
        /\.lanes\[0\]: found "bild", expected the name of a lane of this file: build/,
        /lanes\.build\.min: found 5, expected at most the value of stableMax/,
        /lanes\.build\.tipo: /,
        /disk\.1TB\.yellow: found 0\.95, expected less than red/,
        /disk\.1TB\.mauve: /,
      ])
        assert.match(error.message, expected);
      return true;
    });
  });

  it("report empty values where mappings are expected", async () => {
    await write(
      "aviary.yaml",
      `${FLEET.replace("prod/payments-gateway: {", "prod/other-gateway:\n  prod/payments-gateway: {")}lanes: { build: }\n`,
    );
    await write("policies/default.yaml", "disk: { 1TB: }\n");
    assert.deepEqual(
      (await problems()).map((line) => line.replace(/ \S+$/, "")),
      ["aviary.yaml canaries.prod/other-gateway", "aviary.yaml lanes.build", "policies/default.yaml disk.1TB"],
    );
  });

  it("report no dangling references if the section that defines the names is missing", async () => {
    await write("aviary.yaml", FLEET.replace("fleets:", "flets:"));
    const found = await problems();
    assert.ok(
      found.some((line) => line.startsWith("aviary.yaml flets")) && found.some((line) => line.startsWith("aviary.yaml fleets")),
      found.join("\n"),
    );
    assert.ok(
      found.every((line) => !line.includes("canaries")),
      found.join("\n"),
    );
  });

  it("explain how to write a ratio and a disk mark", async () => {
    await write("policies/default.yaml", "thresholds: { max5xxRate: 0.5% }\ndisk: { 1TB: { yellow: 0.95, red: 0.9 } }\n");
    await assert.rejects(load(), (error: Error) => {
      assert.match(error.message, /max5xxRate: found "0\.5%", expected a number, as a ratio: 0\.005/);
      assert.match(error.message, /disk\.1TB\.yellow: found 0\.95, expected less than red/);
      return true;
    });
  });

  it("report a missing file", async () => {
    await rm(join(directory, "policies/strict.yaml"));
    const path = join(directory, "policies/strict.yaml");
    assert.deepEqual(await problems(), [
      `aviary.yaml canaries.prod/payments-gateway.policy "policies/strict.yaml" (${path} not found)`,
    ]);
    await assert.rejects(load(), /aviary\.yaml:6: /);
    await rm(join(directory, "aviary.yaml"));
    assert.deepEqual(await problems(), ["aviary.yaml  not found"]);
    await assert.rejects(load(), /AVIARY_FLEET_FILE/);
  });

  it("report the references of an entry whose own key is invalid", async () => {
    await write(
      "aviary.yaml",
      FLEET.replace("prod/search-gateway: { fleet: payments", "Search: { fleet: paymnts, lanes: [bild]"),
    );
    assert.deepEqual(await problems(), [
      'aviary.yaml canaries.Search the key "Search"',
      'aviary.yaml canaries.Search.fleet "paymnts"',
      'aviary.yaml canaries.Search.lanes[0] "bild"',
    ]);
  });
});
