/** Two evaluators with different files: the standby reports it. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createMemoryBus } from "@aviary/shared/bus/memory.ts";
import { fleetFileSchema } from "@aviary/shared/contract/fleet.ts";
import { type Incident, parseIncident } from "@aviary/shared/contract/incident.ts";
import { defaultPolicy } from "@aviary/shared/contract/policy.ts";
import { parseJsonBytes } from "@aviary/shared/runtime/json.ts";
import { manualClock } from "@aviary/shared/testing/manual-clock.ts";
import { nextTurn, passTime } from "@aviary/shared/testing/pass-time.ts";
import { storedMessages } from "@aviary/shared/testing/stored-messages.ts";
import { resolveConfig } from "../../src/core/resolved-config.ts";
import { REPORT_AFTER_MS, watchLeaderConfiguration } from "../../src/io/configuration-conflict.ts";
import { CANARY_KEY, START_MS } from "../core/simulated-fleet.ts";
import { startLiveEvaluator } from "../live-fleet.ts";

const FLEET = fleetFileSchema.parse({
  fleets: { f: { gateways: [{ name: "g", az: "a", slice: "canary" }] } },
  canaries: { [CANARY_KEY]: { fleet: "f", policy: "p" } },
});
const configOf = (hash: string) => resolveConfig(FLEET, new Map([[CANARY_KEY, defaultPolicy()]]), hash);

/** The reports of a leader and a standby with these configurations after this time. */
async function reportsOf(leader: string, standby: string, forMs: number): Promise<Incident[]> {
  const clock = manualClock(START_MS);
  await using bus = createMemoryBus({ clock });
  await using first = startLiveEvaluator({ bus, clock, config: configOf(leader), holder: "one" });
  await passTime(clock, 1_000);
  assert.equal(first.notReady(), undefined, "it leads");
  await using second = startLiveEvaluator({ bus, clock, config: configOf(standby), holder: "two" });
  await passTime(clock, forMs, 200);
  assert.equal(second.notReady(), undefined, "it stands by");
  const incidents = (await storedMessages(bus, "INCIDENTS")).map(({ data }) => {
    const parsed = parseIncident(parseJsonBytes(data));
    assert.ok(parsed.success);
    return parsed.data;
  });
  return incidents.filter(({ code }) => code === "config_differs");
}

describe("a standby with another configuration than the leader's", () => {
  it("publishes one incident that names both, once the difference has lasted a minute", async () => {
    const [report, ...others] = await reportsOf("a".repeat(64), "b".repeat(64), 4 * REPORT_AFTER_MS);
    assert.deepEqual(others, []);
    const { leader, leader_config, standby, standby_config } = report!.facts;
    assert.deepEqual([leader, leader_config, standby, standby_config], ["one", "a".repeat(64), "two", "b".repeat(64)]);
    assert.equal(report!.severity, "critical");
  });

  it("reports nothing during a rolling update, and nothing if the configurations are equal", async () => {
    assert.deepEqual(await reportsOf("a".repeat(64), "b".repeat(64), REPORT_AFTER_MS - 2_000), []);
    assert.deepEqual(await reportsOf("a".repeat(64), "a".repeat(64), 4 * REPORT_AFTER_MS), []);
  });

  it("publishes again until the broker has stored the incident, and compares no leader that states nothing", async () => {
    const clock = manualClock(START_MS);
    let attempts = 0;
    const publish = async () => {
      attempts += 1;
      if (attempts < 3) throw new Error("the broker is away");
      return { stream: "INCIDENTS", sequence: 1, duplicate: false };
    };
    const bus = { publish } as never;
    const log = { error: () => undefined } as never;
    const read = watchLeaderConfiguration({ bus, clock, log, self: { holder: "two", config: "b" } });
    const readFor = async (config: string | undefined, forMs: number): Promise<void> => {
      for (let passedMs = 0; passedMs < forMs; passedMs += 1_000) {
        read({ holder: "one", config });
        clock.advance(1_000);
        await nextTurn();
      }
    };
    await readFor(undefined, 5 * REPORT_AFTER_MS);
    assert.equal(attempts, 0);
    await readFor("a", 5 * REPORT_AFTER_MS);
    assert.equal(attempts, 3);
  });
});
