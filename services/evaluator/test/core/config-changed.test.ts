import assert from "node:assert/strict";
import { test } from "node:test";
import { type FleetFile, fleetFileSchema } from "@aviary/shared/contract/fleet.ts";
import { type PolicyFile, policySchema } from "@aviary/shared/contract/policy.ts";
import { decodeCheckpoint, encodeCheckpoint } from "../../src/core/checkpoint.ts";
import { type ResolvedConfig, resolveConfig } from "../../src/core/resolved-config.ts";
import { createSimulatedFleet, reduceLog, TEST_POLICY } from "./simulated-fleet.ts";

const fleet = createSimulatedFleet({ lane: false });
fleet.advance(200);

/** Two canaries without a controller on one fleet; `policies` are their files. */
function configOf(policies: Record<string, PolicyFile>, change: (file: FleetFile) => void = () => {}): ResolvedConfig {
  const gateways = fleet.gateways.map(({ az, name, slice }) => ({ az, name, slice, tier: "2TB" as const }));
  const canaries = Object.fromEntries(Object.keys(policies).map((name) => [`prod/${name}`, { fleet: "payments", policy: name }]));
  const file = fleetFileSchema.parse({ fleets: { payments: { gateways }, other: { gateways } }, canaries, lanes: {} });
  change(file);
  const parsed = Object.entries(policies).map(
    ([name, policy]) => [`prod/${name}`, policySchema.parse({ ...TEST_POLICY, ...policy })] as const,
  );
  return resolveConfig(file, new Map(parsed), JSON.stringify([file, policies]));
}

/** The names of the canaries that keep their windows when a checkpoint under `before` is restored under `after`. */
function kept(before: ResolvedConfig, after: ResolvedConfig): string[] {
  const { state } = reduceLog(before, fleet.log, fleet.now() + 100);
  const restored = decodeCheckpoint(encodeCheckpoint(state), after)!;
  return [...restored.canaries.values()].filter(({ grid }) => grid!.next > 0).map(({ key }) => key);
}

test("a changed policy resets the evidence of its own canary only", () => {
  const before = configOf({ one: {}, two: {} });
  assert.deepEqual(kept(before, configOf({ one: {}, two: {} })), ["prod/one", "prod/two"]);
  assert.deepEqual(kept(before, configOf({ one: {}, two: { thresholds: { max5xxRate: 0.01 } } })), ["prod/one"]);
});

test("a change to another fleet resets nothing, and a changed gateway resets its own fleet's canaries", () => {
  const before = configOf({ one: {}, two: {} });
  const elsewhere = configOf({ one: {}, two: {} }, (file) => void file.fleets.other!.gateways.pop());
  assert.deepEqual(kept(before, elsewhere), ["prod/one", "prod/two"]);
  const here = configOf({ one: {}, two: {} }, (file) => void file.fleets.payments!.gateways.pop());
  assert.deepEqual(kept(before, here), []);
});

test("a setting that is given its default value changes nothing", () => {
  const before = configOf({ one: {} });
  assert.equal(
    before.canaries.get("prod/one")!.configHash,
    configOf({ one: { maxRestarts: 3 } }).canaries.get("prod/one")!.configHash,
  );
});
