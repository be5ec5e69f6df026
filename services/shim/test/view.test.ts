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

test("a view that cannot subscribe serves holds and retries; one that loses its subscription resubscribes", async () => {
  const { clock, bus, state, shaky } = shakyBus();
  after(() => bus[Symbol.asyncDispose]());
  const record = aVerdict({ verdict: "fail" });
  const publish = (change = record) =>
    bus.publish({ subject: verdictSubject(record.body.subject), data: JSON.stringify(change), id: change.body.id });
  await publish();
  state.away = true;
  const view = await followView({ bus: shaky, fleet: aFleet(), policies: new Map(), clock, logger: silentLogger });
  const served = () => view.prepared([...view.canaries.values()][0]!).answer.body;
  const pass = async (): Promise<void> => {
    for (let step = 0; step < 20; step++) {
      clock.advance(100);
      await settle();
    }
  };
  await pass();
  assert.equal(view.isCaughtUp, false);
  assert.deepEqual([served().verdict, served().reasons[0]?.code], ["hold", "not_ready"]);
  state.away = false;
  await pass();
  assert.equal(view.isCaughtUp, true);
  assert.equal(served().verdict, "fail");

  state.ends[0]?.(terminal("stream_went_back", "recreated"));
  await pass();
  assert.equal(state.ends.length, 2, "resubscribed");
  assert.equal(served().verdict, "fail", "the last verdict is kept");
  const later = aVerdict({ verdict: "fail", at: "2026-11-21T10:05:00.000Z" });
  await publish(later);
  await settle();
  assert.equal(served().id, later.body.id);
  await view[Symbol.asyncDispose]();
});
