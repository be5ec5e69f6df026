import assert from "node:assert/strict";
import { test } from "node:test";
import type { ControlContent } from "@aviary/shared/contract/control.ts";
import { aReason, aVerdict, type VerdictChange } from "@aviary/shared/testing/builders.ts";
import {
  type ControlEffect,
  type RunSummary,
  showsEffect,
  stillInMaintenance,
  summaryOf,
  transitionText,
  unchangedReason,
} from "../src/control-effect.ts";

const summary = (change: VerdictChange): RunSummary => summaryOf(aVerdict(change).body);
const reasoned = (verb: "abort" | "clear" | "pause" | "resume"): ControlContent => ({ verb, caller: "operator", reason: "x" });
const maintenance = (on: boolean, gateway?: string): ControlContent => ({
  verb: "maintenance",
  caller: "operator",
  on,
  mute: false,
  reason: "x",
  ...(gateway === undefined ? {} : { gateway }),
});
const unchanged = (now: RunSummary | null): ControlEffect => ({ before: now, after: now, changed: false });

const failed = summary({ verdict: "fail" });
const active = summary({ verdict: "pass" });
const paused = summary({ verdict: "hold", reasons: [aReason("maintenance", { text: "the run is paused: a look" })] });
const aborted = summary({ verdict: "hold", reasons: [aReason("no_run")], run: { state: "aborted", canary_active: false } });

test("only the requested change counts as the effect of a command, not a run that moves on meanwhile", () => {
  assert.equal(showsEffect(reasoned("pause"), active, paused), true);
  assert.equal(showsEffect(reasoned("resume"), paused, active), true);
  assert.equal(showsEffect(reasoned("pause"), active, failed), false);
  assert.equal(showsEffect(reasoned("clear"), failed, active), true);
  assert.equal(showsEffect(reasoned("clear"), active, failed), false);
  assert.equal(showsEffect(reasoned("clear"), summary({ run: { state: "warming" } }), active), false);
  assert.equal(showsEffect(reasoned("abort"), active, aborted), true);
  assert.equal(showsEffect(reasoned("abort"), aborted, aborted), false);
  const start: ControlContent = { verb: "start", caller: "operator", revision: "v2" };
  assert.equal(showsEffect(start, null, active), true);
  assert.equal(showsEffect(start, active, active), false);
});

test("a cleared failure is shown with the attempt that it opens", () => {
  const run = { id: "0123456789ab-77", state: "warming" as const };
  const body = aVerdict({ verdict: "hold", run }).body;
  const after = summaryOf({ ...body, run: { ...body.run!, ...{ attempt: 2 } } });
  assert.equal(transitionText({ before: failed, after, changed: true }), "failed → warming, attempt 2");
});

test("a command without effect states the reason from the verdict", () => {
  const cases: [ControlContent, RunSummary | null, RegExp][] = [
    [reasoned("clear"), active, /^no failure is latched: the run is active$/],
    [reasoned("clear"), summary({ run: null }), /^no failure is latched: no run is open$/],
    [reasoned("abort"), aborted, /^no run is open: the last one \(0123456789ab\) is aborted$/],
    [reasoned("abort"), failed, /^a failed run cannot be aborted; `aviary run clear`/],
    [reasoned("pause"), aborted, /^no run is open/],
    [reasoned("pause"), paused, /^it is already on hold \(the run is paused: a look\)/],
    [reasoned("pause"), failed, /the verdict of a latched failure shows no pause/],
    [reasoned("resume"), active, /^the run is not paused$/],
    [maintenance(false), active, /^the canary is not in maintenance$/],
    [maintenance(false, "mac-a1"), active, /^mac-a1 is not in maintenance$/],
    [maintenance(true), active, /^the verdict shows no effect$/],
    [reasoned("resume"), summary({ verdict: "hold", reasons_more: 2 }), /more reasons than it lists/],
    [reasoned("pause"), null, /^no verdict for this canary has been published$/],
  ];
  for (const [content, now, expected] of cases) assert.match(unchangedReason(content, unchanged(now)), expected);
});

test("the end of a canary's maintenance lists the gateways that are still in maintenance", () => {
  const held = summary({ verdict: "hold", reasons: [aReason("maintenance", { gateway: "mac-a1" })] });
  assert.deepEqual(stillInMaintenance(maintenance(false), unchanged(held)), ["mac-a1"]);
  assert.deepEqual(stillInMaintenance(maintenance(false, "mac-a1"), unchanged(held)), []);
  assert.deepEqual(stillInMaintenance(maintenance(true), unchanged(held)), []);
});
