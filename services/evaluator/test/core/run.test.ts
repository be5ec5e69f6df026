import assert from "node:assert/strict";
import { test } from "node:test";
import { sha256Hex } from "@aviary/shared/contract/ids.ts";
import { mayPromote } from "@aviary/shared/contract/promotion.ts";
import type { Slice } from "@aviary/shared/contract/run.ts";
import { parseVerdictRecord } from "@aviary/shared/contract/verdict.ts";
import {
  createSimulatedFleet,
  NEW_PACK,
  newestBody,
  reduceFleet,
  type SimulatedFleet,
  STABLE_PACK,
  timeline,
} from "./simulated-fleet.ts";

/** Whether the pack may be installed on a gateway of the slice that runs the other pack. */
function promotion(fleet: SimulatedFleet, slice: Slice, hash: string, installed = hash === NEW_PACK ? STABLE_PACK : NEW_PACK) {
  const { verdicts } = reduceFleet(fleet);
  const { body, promotion: facts } = verdicts[verdicts.length - 1]!;
  const target = { az: "az-a", gateway: `${slice}-a`, slice, installed };
  const verdict = { run: body.run, valid_until: body.valid_until, promotion: facts };
  return mayPromote({ verdict, target, hash, lanes: [], requestedAtMs: fleet.now(), atMs: fleet.now() });
}

function announceAndWarm(fleet: SimulatedFleet, revision = "v2", pack = NEW_PACK): void {
  fleet.publishControl({ verb: "announce", caller: "flagger", revision, skill_hash: pack });
  fleet.advance(10);
  for (const gateway of fleet.slice("canary")) Object.assign(gateway, { version: "2026.9.7", pack });
  fleet.advance(5);
  fleet.publishControl({ verb: "gate", caller: "flagger", gate: "confirm-rollout", allowed: true, revision });
  fleet.publishControl({ verb: "weight", caller: "flagger", weight: 10, revision });
}

test("a Flagger canary goes from announced to passed, after which stable may be promoted", () => {
  const fleet = createSimulatedFleet({ policy: { stableNeedsPass: true } });
  fleet.advance(60);
  assert.deepEqual(
    newestBody(fleet).reasons.map((reason) => reason.code),
    ["no_run"],
  );
  assert.equal(newestBody(fleet).degraded, false);

  fleet.publishControl({ verb: "announce", caller: "flagger", revision: "v2", skill_hash: NEW_PACK });
  fleet.advance(5);
  assert.equal(newestBody(fleet).run?.state, "pending");
  assert.deepEqual(promotion(fleet, "canary", NEW_PACK), { allowed: true });
  assert.deepEqual(promotion(fleet, "canary", STABLE_PACK), { allowed: true });
  assert.equal(promotion(fleet, "stable", NEW_PACK).allowed, false);

  fleet.install("canary", NEW_PACK);
  fleet.advance(5);
  assert.equal(newestBody(fleet).run?.state, "warming");
  assert.equal(promotion(fleet, "canary", NEW_PACK, NEW_PACK).allowed, false);
  fleet.publishControl({ verb: "weight", caller: "flagger", weight: 10, revision: "v2" });
  fleet.advance(120);
  const passing = newestBody(fleet);
  assert.equal(passing.verdict, "pass", timeline(reduceFleet(fleet).verdicts).join("\n"));
  assert.equal(passing.run?.state, "active");
  assert.equal(passing.run?.promotable, true);
  assert.equal(passing.run?.weight, 10);
  assert.ok(passing.canary.requests > 0);
  assert.equal(passing.gateway.skill_hash, NEW_PACK);

  fleet.publishControl({ verb: "end", caller: "flagger", result: "succeeded", revision: "v2" });
  fleet.advance(5);
  const passed = newestBody(fleet);
  assert.equal(passed.run?.state, "passed");
  assert.deepEqual(promotion(fleet, "stable", NEW_PACK), { allowed: true });
  fleet.install("stable", NEW_PACK);
  fleet.advance(60);
  fleet.publishControl({ verb: "announce", caller: "flagger", revision: "v2" });
  fleet.advance(10);
  assert.equal(newestBody(fleet).run?.state, "passed", "a revision that passed is not analyzed again automatically");
});

test("5xx on the canary fails in the second window, is latched, ends when restored, and a new revision passes", () => {
  const fleet = createSimulatedFleet();
  fleet.advance(30);
  announceAndWarm(fleet);
  fleet.advance(90);
  assert.equal(newestBody(fleet).verdict, "pass", timeline(reduceFleet(fleet).verdicts).join("\n"));
  for (const gateway of fleet.slice("canary")) gateway.errors = 5;
  fleet.advance(95);
  const failed = newestBody(fleet);
  assert.equal(failed.verdict, "fail", timeline(reduceFleet(fleet).verdicts).join("\n"));
  assert.equal(failed.run?.state, "failed");
  assert.equal(failed.degraded, true);
  assert.ok(failed.reasons.some((reason) => reason.code === "over_5xx"));
  assert.equal(failed.run?.promotable, false);
  const windowsOver = reduceFleet(fleet).verdicts.filter(
    ({ body }) => body.judge.consecutive_over > 0 && body.run?.state === "active",
  );
  assert.ok(windowsOver.length >= 1, "the first window over the ceiling is a hold");
  assert.ok(windowsOver.every(({ body }) => body.verdict === "hold"));

  for (const gateway of fleet.slice("canary")) gateway.errors = 0;
  fleet.advance(120);
  const latched = newestBody(fleet);
  assert.equal(latched.verdict, "fail", "a failure is latched");
  assert.deepEqual(latched.reasons.slice(0, failed.reasons.length), failed.reasons, "the original cause stays first");
  const note = latched.reasons.at(-1);
  assert.equal(note?.code, "latched");
  assert.match(note?.text ?? "", /^failed at \d\d:\d\d:\d\dZ \(verdict [0-9a-f]{16}; reasons as of that time\); latched until/);
  assert.deepEqual(promotion(fleet, "canary", STABLE_PACK), { allowed: true });
  assert.equal(promotion(fleet, "canary", NEW_PACK).allowed, false);

  for (const gateway of fleet.slice("canary")) Object.assign(gateway, { version: "2026.9.6", pack: STABLE_PACK });
  fleet.advance(30);
  assert.equal(newestBody(fleet).run?.canary_active, false);
  assert.equal(newestBody(fleet).verdict, "fail", "a restored canary stays failed");
  assert.match(
    newestBody(fleet).reasons.at(-1)?.text ?? "",
    /the run ended; the failure stays latched until a new revision or `aviary run clear`$/,
  );
  fleet.publishControl({ verb: "announce", caller: "flagger", revision: "v2" });
  fleet.advance(5);
  assert.equal(newestBody(fleet).verdict, "fail", "the same revision starts nothing");

  announceAndWarm(fleet, "v3", NEW_PACK);
  fleet.advance(120);
  assert.equal(newestBody(fleet).verdict, "pass", timeline(reduceFleet(fleet).verdicts).join("\n"));
});

test("without a controller, a release on the whole canary slice opens a run, passes by its windows, and stable follows", () => {
  const fleet = createSimulatedFleet({ controller: false, policy: { passAfterWindows: 3 } });
  fleet.advance(60);
  fleet.gateway("canary-b").pack = NEW_PACK;
  fleet.advance(30);
  assert.equal(newestBody(fleet).run, null, "one odd gateway is skew, not a run");
  const skew = newestBody(fleet).reasons.find((reason) => reason.code === "skill_skew");
  assert.equal(skew?.az, "az-b");
  fleet.install("canary", NEW_PACK);
  fleet.advance(30);
  assert.equal(newestBody(fleet).run?.canary_active, true);
  fleet.advance(180);
  assert.equal(newestBody(fleet).run?.state, "passed", timeline(reduceFleet(fleet).verdicts).join("\n"));
  fleet.install("stable", NEW_PACK);
  fleet.advance(60);
  assert.equal(newestBody(fleet).run?.state, "passed");
});

test("without a controller, a release that returns after its run is reported, and opens a second run only on request", () => {
  const fleet = createSimulatedFleet({ controller: false, policy: { passAfterWindows: 3 } });
  fleet.advance(60);
  const give = (pack: string): void => {
    fleet.install("canary", pack);
    fleet.advance(240);
  };
  give(NEW_PACK);
  assert.equal(newestBody(fleet).run?.state, "passed", timeline(reduceFleet(fleet).verdicts).join("\n"));
  assert.match(newestBody(fleet).reasons.find(({ code }) => code === "no_run")?.text ?? "", /the last one \(\w+\) passed/);
  give(sha256Hex("third pack"));
  give(NEW_PACK);
  assert.match(
    newestBody(fleet).reasons.find(({ code }) => code === "no_run")?.text ?? "",
    /was already analyzed; start a new run with `aviary run start`/,
  );
  give(STABLE_PACK);
  assert.match(
    newestBody(fleet).reasons.find(({ code }) => code === "no_run")?.text ?? "",
    /the last one/,
    "stable's release needs no run",
  );
  fleet.publishControl({ verb: "start", caller: "operator", revision: "again" });
  give(NEW_PACK);
  assert.equal(newestBody(fleet).run?.controller_revision, "again");
});

test("an Argo Rollouts analysis starts at its first request", () => {
  const fleet = createSimulatedFleet();
  fleet.advance(30);
  fleet.publishControl({ verb: "announce", caller: "rollouts", revision: "6d5f" });
  fleet.advance(5);
  assert.equal(newestBody(fleet).run?.state, "warming");
  fleet.advance(120);
  assert.equal(newestBody(fleet).verdict, "pass", timeline(reduceFleet(fleet).verdicts).join("\n"));
});

test("no state waits for an operator: pending and active runs expire, and a failed run is reported and stays failed", () => {
  for (const until of ["pending", "active", "failed"] as const) {
    const fleet = createSimulatedFleet({ policy: { maxPending: "5m", maxRun: "10m" } });
    fleet.advance(30);
    if (until === "pending") fleet.publishControl({ verb: "announce", caller: "flagger", revision: "v2", skill_hash: NEW_PACK });
    else announceAndWarm(fleet);
    if (until === "failed") for (const gateway of fleet.slice("canary")) gateway.errors = 50;
    fleet.advance(660);
    const { verdicts, effects } = reduceFleet(fleet);
    const body = verdicts[verdicts.length - 1]!.body;
    const count = (code: string) =>
      effects.filter((effect) => effect.kind === "incident" && effect.incident.code === code).length;
    assert.equal(body.run?.state, until === "failed" ? "failed" : "expired", timeline(verdicts).slice(-3).join(" | "));
    assert.equal(body.run?.canary_active, until === "failed");
    assert.equal(body.verdict, until === "failed" ? "fail" : "hold");
    assert.deepEqual([count("run_expired"), count("not_restored")], until === "failed" ? [0, 1] : [1, 0]);
  }
});

test("a run that ends before a window closes is never a pass and does not affect the next run", () => {
  const ends = {
    unjudged: { verb: "end", caller: "rollouts", result: "succeeded", revision: "v2" },
    aborted: { verb: "abort", caller: "operator", reason: "never mind" },
    superseded: { verb: "announce", caller: "rollouts", revision: "v3" },
  } as const;
  for (const [state, ending] of Object.entries(ends)) {
    const fleet = createSimulatedFleet();
    fleet.advance(60);
    // Both are stored in the same millisecond: the run has no duration.
    fleet.publishControl({ verb: "announce", caller: "rollouts", revision: "v2" });
    fleet.publishControl(ending);
    if (state !== "superseded") {
      fleet.advance(10);
      assert.equal(newestBody(fleet).run?.state, state);
      fleet.publishControl({ verb: "announce", caller: "rollouts", revision: "v3" });
    }
    fleet.advance(120);
    const { verdicts } = reduceFleet(fleet);
    const of = (revision: string) => verdicts.filter(({ body }) => body.run?.controller_revision === revision);
    assert.ok(of("v2").length > 0, timeline(verdicts).join("\n"));
    for (const { body } of of("v2"))
      assert.deepEqual(
        [body.verdict, body.run?.promotable, body.judge.luck],
        ["hold", false, null],
        timeline(verdicts).join("\n"),
      );
    const judged = of("v3").filter(({ body }) => body.window !== null);
    assert.equal(judged[0]?.body.window?.index, 0, "its windows are counted from its own start");
    assert.equal(newestBody(fleet).verdict, "pass", timeline(verdicts).join("\n"));
  }
});

test("an operator can abort, clear and pause a run and put its canary into maintenance", () => {
  const fleet = createSimulatedFleet();
  fleet.advance(30);
  announceAndWarm(fleet);
  fleet.advance(90);
  fleet.publishControl({ verb: "pause", caller: "operator", reason: "looking at it" });
  fleet.advance(5);
  assert.deepEqual(
    newestBody(fleet).reasons.map((reason) => reason.code),
    ["maintenance"],
  );
  fleet.publishControl({ verb: "resume", caller: "operator", reason: "seen" });
  fleet.advance(5);
  assert.equal(newestBody(fleet).verdict, "pass");
  for (const gateway of fleet.slice("canary")) gateway.errors = 50;
  fleet.advance(90);
  assert.equal(newestBody(fleet).verdict, "fail");
  fleet.publishControl({ verb: "clear", caller: "operator", reason: "a test of the load generator" });
  fleet.advance(5);
  const { state, attempt, cleared } = newestBody(fleet).run!;
  assert.deepEqual([state, attempt, cleared?.reason], ["warming", 2, "a test of the load generator"]);
  assert.equal(newestBody(fleet).verdict, "hold");
  assert.equal(newestBody(fleet).concerns.errors, "hold", "a cleared failure is no longer the verdict");
  assert.equal(newestBody(fleet).judge.two_key, "hold");
  fleet.publishControl({ verb: "maintenance", caller: "operator", on: true, mute: true, reason: "new disks" });
  fleet.advance(5);
  assert.ok(newestBody(fleet).reasons.some((reason) => reason.code === "maintenance"));
  assert.equal(promotion(fleet, "stable", STABLE_PACK).allowed, false);
});

test("every verdict of a varied day is valid, with an id from its content", () => {
  const fleet = createSimulatedFleet();
  fleet.advance(30);
  announceAndWarm(fleet);
  fleet.advance(60);
  for (const gateway of fleet.slice("canary")) gateway.errors = 50;
  fleet.advance(90);
  const { verdicts } = reduceFleet(fleet);
  const seen = new Set<string>();
  for (const record of verdicts) {
    const parsed = parseVerdictRecord(JSON.parse(JSON.stringify(record)));
    assert.ok(parsed.success, JSON.stringify(parsed.error?.issues));
    assert.ok(!seen.has(record.body.id), `verdict ${record.body.id} twice`);
    seen.add(record.body.id);
    assert.ok(JSON.stringify(record).length <= 32 * 1024);
  }
});

test("a run that has earned promotion is not promotable while a blocking reason is present", () => {
  const fleet = createSimulatedFleet();
  fleet.advance(60);
  announceAndWarm(fleet);
  fleet.advance(120);
  assert.equal(newestBody(fleet).run?.promotable, true, timeline(reduceFleet(fleet).verdicts).join("\n"));

  for (const gateway of fleet.slice("canary")) gateway.health = "timeout";
  fleet.advance(5);
  assert.equal(newestBody(fleet).verdict, "hold");
  assert.equal(newestBody(fleet).run?.promotable, false, "every canary Mac is down");

  for (const gateway of fleet.slice("canary")) gateway.health = "up";
  fleet.advance(5);
  assert.equal(newestBody(fleet).run?.promotable, true, "the evidence is still there");
});
