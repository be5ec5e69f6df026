import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { Bus, FollowOptions } from "@aviary/shared/bus/bus.ts";
import { createMemoryBus } from "@aviary/shared/bus/memory.ts";
import { EVALUATOR_LEASE_KEY } from "@aviary/shared/contract/lease.ts";
import { policySchema } from "@aviary/shared/contract/policy.ts";
import { verdictSubject } from "@aviary/shared/contract/subjects.ts";
import type { VerdictRecord } from "@aviary/shared/contract/verdict.ts";
import { retryable, terminal } from "@aviary/shared/runtime/faults.ts";
import { silentLogger } from "@aviary/shared/runtime/logger.ts";
import { aFleet, aVerdict, BUILT_AT } from "@aviary/shared/testing/builders.ts";
import { manualClock } from "@aviary/shared/testing/manual-clock.ts";
import { nextTurn, passTime } from "@aviary/shared/testing/pass-time.ts";
import { followView } from "../src/view.ts";

/** A bus on which subscriptions fail while `away` is set, and whose subscriptions can be ended. */
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
  const pass = (): Promise<void> => passTime(clock, 2_000);
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
  const later = aVerdict({ verdict: "fail", at: new Date(clock.now()).toISOString() });
  await publish(later);
  await nextTurn();
  assert.equal(served().id, later.body.id);
  await view[Symbol.asyncDispose]();
});

test("a verdict from the future is not served, and none is valid for longer than its policy allows", async () => {
  const { clock, bus, shaky } = shakyBus();
  after(() => bus[Symbol.asyncDispose]());
  const fleet = aFleet();
  const [key = ""] = Object.keys(fleet.canaries);
  const policy = policySchema.parse({ window: "1m", grace: "10s" });
  const view = await followView({ bus: shaky, fleet, policies: new Map([[key, policy]]), clock, logger: silentLogger });
  after(() => view[Symbol.asyncDispose]());
  const served = () => view.prepared(view.canaries.get(key)!).answer;
  const publish = async (record: VerdictRecord): Promise<void> => {
    await bus.publish({ subject: verdictSubject(record.body.subject), data: JSON.stringify(record), id: record.body.id });
    await (await bus.bucket("lease")).put(EVALUATOR_LEASE_KEY, `renewed at ${clock.now()}`);
    await nextTurn();
    await nextTurn();
  };
  const nowIso = () => new Date(clock.now()).toISOString();
  await publish(aVerdict({ verdict: "hold", at: nowIso() }));
  assert.equal(served().body.verdict, "hold");
  await publish(aVerdict({ verdict: "pass", at: "2099-01-01T00:00:00.000Z", valid_until: "2099-01-01T00:10:00.000Z" }));
  assert.equal(served().body.verdict, "hold", "the previous verdict is kept");
  assert.equal(view.unreadable, 1);

  await publish(aVerdict({ verdict: "pass", at: nowIso(), valid_until: "2099-01-01T00:00:00.000Z" }));
  assert.deepEqual([served().body.verdict, served().stale], ["pass", false]);
  clock.advance(129_000);
  await (await bus.bucket("lease")).put(EVALUATOR_LEASE_KEY, "renewed");
  await nextTurn();
  assert.equal(served().body.verdict, "pass");
  clock.advance(2_000);
  assert.deepEqual([served().body.verdict, served().stale], ["hold", true], "two windows and the grace have passed");
});
