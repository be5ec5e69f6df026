import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { Bus, FollowOptions } from "@aviary/shared/bus/bus.ts";
import { createMemoryBus } from "@aviary/shared/bus/memory.ts";
import { verdictSubject } from "@aviary/shared/contract/subjects.ts";
import { retryable, terminal } from "@aviary/shared/runtime/faults.ts";
import { silentLogger } from "@aviary/shared/runtime/logger.ts";
import { aFleet, aVerdict, BUILT_AT } from "@aviary/shared/testing/builders.ts";
import { manualClock } from "@aviary/shared/testing/manual-clock.ts";
import { followView } from "../src/view.ts";

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A bus on which following fails while `away` is set, and whose followers can be ended. */
function shakyBus() {
  const clock = manualClock(Date.parse(BUILT_AT));
  const bus = createMemoryBus({ clock });
  const state = { away: false, ends: [] as FollowOptions["onEnd"][] };
  const follow: Bus["follow"] = async (options) => {
    if (state.away) throw retryable("broker_unavailable", "away");
    const follower = await bus.follow(options);
    state.ends.push(options.onEnd);
    return follower;
  };
  return { clock, bus, state, shaky: Object.create(bus, { follow: { value: follow } }) as Bus };
}

test("a view that cannot follow answers hold and tries again; one that loses the bus follows again", async () => {
  const { clock, bus, state, shaky } = shakyBus();
  after(() => bus[Symbol.asyncDispose]());
  const record = aVerdict({ verdict: "fail" });
  const publish = (change = record) =>
    bus.publish({ subject: verdictSubject(record.body.subject), data: JSON.stringify(change), id: change.body.id });
  await publish();
  state.away = true;
  const view = await followView({ bus: shaky, fleet: aFleet(), policies: new Map(), clock, logger: silentLogger });
  const said = () => view.prepared([...view.canaries.values()][0]!).answer.body;
  const pass = async (): Promise<void> => {
    for (let step = 0; step < 20; step++) {
      clock.advance(100);
      await settle();
    }
  };
  await pass();
  assert.equal(view.ready, false);
  assert.deepEqual([said().verdict, said().reasons[0]?.code], ["hold", "not_ready"]);
  state.away = false;
  await pass();
  assert.equal(view.ready, true);
  assert.equal(said().verdict, "fail");

  state.ends[0]?.(terminal("stream_went_back", "made anew"));
  await pass();
  assert.equal(state.ends.length, 2, "followed again");
  assert.equal(said().verdict, "fail", "what was known stays known");
  const later = aVerdict({ verdict: "fail", at: "2026-11-21T10:05:00.000Z" });
  await publish(later);
  await settle();
  assert.equal(said().id, later.body.id);
  await view[Symbol.asyncDispose]();
});
