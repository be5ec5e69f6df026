import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { ConfigError } from "../../src/shell/config.ts";
import { loadFleet } from "../../src/shell/fleet-config.ts";

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
    () => assert.fail("it loaded"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof ConfigError);
  return error.problems.map(({ source, path, found }) => `${source.slice(directory.length + 1)} ${path} ${found}`);
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
  it("are read relative to the fleet file, an empty policy being the default one", async () => {
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

  it("have a hash that changes with what they mean and not with how they are written", async () => {
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
      found.some((line) => line.startsWith("policies/strict.yaml") && line.includes("broken YAML")),
      found.join("\n"),
    );
  });

  it("name a file that is not there", async () => {
    await rm(join(directory, "policies/strict.yaml"));
    assert.deepEqual(await problems(), ["policies/strict.yaml  no such file"]);
    await rm(join(directory, "aviary.yaml"));
    assert.deepEqual(await problems(), ["aviary.yaml  no such file"]);
  });
});
