/** Who may change a run, and when a revision is analyzed again. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ControlContent } from "@aviary/shared/contract/control.ts";
import { decodeCheckpoint, encodeCheckpoint } from "../../src/core/checkpoint.ts";
import {
  CANARY_KEY,
  createSimulatedFleet,
  NEW_PACK,
  newestRecord,
  reduceFleet,
  type SimulatedFleet,
  STABLE_PACK,
} from "./simulated-fleet.ts";

const FLAGGER_CALLS = { verb: "announce", caller: "flagger" } as const;

/** A fleet whose canary slice runs the new pack, with a run of v2 that Flagger opened and gave traffic. */
function withRun(policy = {}): SimulatedFleet {
  const fleet = createSimulatedFleet({ policy });
  fleet.advance(60);
  fleet.publishControl({ ...FLAGGER_CALLS, revision: "v2", gate: "confirm-rollout" });
  setPack(fleet, NEW_PACK);
  fleet.publishControl({ verb: "gate", caller: "flagger", gate: "pre-rollout", allowed: true, revision: "v2" });
  fleet.publishControl({ verb: "weight", caller: "flagger", weight: 10, revision: "v2" });
  fleet.advance(60);
  assert.equal(newestRecord(fleet).run.state, "active", newestRecord(fleet).story);
  return fleet;
}

function setPack(fleet: SimulatedFleet, pack: string): void {
  fleet.install("canary", pack);
  fleet.advance(10);
}

function fail(fleet: SimulatedFleet): void {
  for (const gateway of fleet.slice("canary")) gateway.errors = 50;
  fleet.advance(95);
  for (const gateway of fleet.slice("canary")) gateway.errors = 0;
  assert.equal(newestRecord(fleet).body.verdict, "fail", newestRecord(fleet).story);
}

describe("a message of a caller that does not judge the run", () => {
  const MESSAGES: readonly ControlContent[] = [
    { verb: "announce", caller: "rollouts", revision: "v3" },
    { verb: "announce", caller: "keda", revision: "v3" },
    { verb: "weight", caller: "rollouts", weight: 90 },
    { verb: "gate", caller: "keda", gate: "confirm-promotion", allowed: true },
    { verb: "end", caller: "rollouts", result: "succeeded" },
    { verb: "phase", caller: "rollouts", phase: "Promoting" },
  ];
  for (const message of MESSAGES) {
    it(`${message.verb} of ${message.caller} changes nothing and raises one incident`, () => {
      const fleet = withRun();
      const before = newestRecord(fleet).run;
      fleet.publishControl(message);
      fleet.publishControl({ ...message });
      fleet.advance(1);
      const { run, incidents } = newestRecord(fleet);
      assert.deepEqual(run, before);
      assert.deepEqual(
        incidents.filter((code) => code === "caller_conflict"),
        ["caller_conflict", "caller_conflict"],
      );
    });
  }

  it("ends neither a latched failure nor its freeze", () => {
    const fleet = withRun();
    fail(fleet);
    for (const message of MESSAGES) fleet.publishControl(message);
    fleet.advance(10);
    const { body, run } = newestRecord(fleet);
    assert.deepEqual([body.verdict, run.state, run.canary_active, run.controller_revision], ["fail", "failed", true, "v2"]);
  });
});

describe("the seat of a run", () => {
  it("belongs to the first judging class that names it, ends with the run, and is in the record", () => {
    const fleet = withRun();
    assert.equal(newestRecord(fleet).run.seat, "flagger");
    fleet.publishControl({ verb: "end", caller: "flagger", result: "failed", revision: "v2" });
    fleet.publishControl({ verb: "announce", caller: "rollouts", revision: "v3" });
    fleet.advance(1);
    const { run } = newestRecord(fleet);
    assert.deepEqual([run.controller_revision, run.seat, run.attempt], ["v3", "rollouts", 1]);
  });

  it("of a run that Flux opened goes to the judging caller, whose name the run adopts; Flux interrupts no run", () => {
    const fleet = createSimulatedFleet();
    fleet.advance(30);
    fleet.publishControl({ verb: "announce", caller: "flux", revision: "main@sha1:1" });
    fleet.advance(1);
    const opened = newestRecord(fleet).run;
    assert.deepEqual([opened.state, opened.seat], ["pending", null]);
    fleet.publishControl({ ...FLAGGER_CALLS, revision: "v2", gate: "confirm-rollout" });
    fleet.advance(1);
    const adopted = newestRecord(fleet).run;
    assert.deepEqual([adopted.id, adopted.controller_revision, adopted.seat], [opened.id, "v2", "flagger"]);
    fleet.publishControl({ verb: "announce", caller: "flux", revision: "main@sha1:2" });
    fleet.advance(1);
    assert.equal(newestRecord(fleet).run.id, opened.id);
  });
});

describe("a revision that is named again", () => {
  const ended = (result: "succeeded" | "failed"): SimulatedFleet => {
    const fleet = withRun();
    fleet.publishControl({ verb: "end", caller: "flagger", result, revision: "v2" });
    fleet.advance(1);
    return fleet;
  };

  it("by Flagger's first gate after its end was reported starts the next attempt; by a later gate it does not", () => {
    const fleet = ended("failed");
    fleet.publishControl({ ...FLAGGER_CALLS, revision: "v2", gate: "rollout" });
    fleet.advance(1);
    assert.deepEqual([newestRecord(fleet).run.state, newestRecord(fleet).run.attempt], ["aborted", 1]);
    fleet.publishControl({ ...FLAGGER_CALLS, revision: "v2", gate: "confirm-rollout" });
    fleet.advance(1);
    assert.deepEqual([newestRecord(fleet).run.state, newestRecord(fleet).run.attempt], ["warming", 2]);
    assert.deepEqual(
      newestRecord(fleet).revisions.map(({ name, attempt }) => [name, attempt]),
      [["v2", 2]],
    );
  });

  it("after a failure waits until the run is over, and then starts the next attempt with its own evidence", () => {
    const fleet = withRun();
    fail(fleet);
    fleet.publishControl({ verb: "end", caller: "flagger", result: "failed", revision: "v2" });
    fleet.advance(5);
    assert.equal(newestRecord(fleet).run.canary_active, true, "the Macs still run the failed pack");
    fleet.publishControl({ ...FLAGGER_CALLS, revision: "v2", gate: "confirm-rollout" });
    fleet.advance(5);
    assert.equal(newestRecord(fleet).body.verdict, "fail");
    setPack(fleet, STABLE_PACK);
    assert.equal(newestRecord(fleet).run.canary_active, false);
    fleet.publishControl({ ...FLAGGER_CALLS, revision: "v2", gate: "pre-rollout" });
    fleet.advance(5);
    const { run, body } = newestRecord(fleet);
    assert.deepEqual([run.attempt, run.promotable, body.verdict, run.latched_by], [2, false, "hold", null]);
  });

  it("by a left-over analysis changes nothing and is reported", () => {
    const fleet = createSimulatedFleet();
    fleet.advance(30);
    const measure = (revision: string) => fleet.publishControl({ verb: "announce", caller: "rollouts", revision });
    measure("v1");
    fleet.advance(30);
    measure("v2");
    for (let minute = 0; minute < 5; minute++) {
      fleet.advance(60);
      measure("v1");
      measure("v2");
    }
    fleet.advance(1);
    const { run, incidents, revisions } = newestRecord(fleet);
    assert.deepEqual([run.controller_revision, run.attempt], ["v2", 1]);
    assert.ok(incidents.includes("left_over_caller"));
    assert.deepEqual(
      revisions.map(({ name, state }) => [name, state]),
      [
        ["v1", "superseded"],
        ["v2", run.state],
      ],
    );
  });

  it("by an analysis after a pause of two intervals starts the next attempt", () => {
    const fleet = createSimulatedFleet();
    fleet.advance(30);
    fleet.publishControl({ verb: "announce", caller: "rollouts", revision: "v1" });
    fleet.advance(10);
    fleet.publishControl({ verb: "announce", caller: "rollouts", revision: "v2" });
    fleet.advance(200);
    fleet.publishControl({ verb: "announce", caller: "rollouts", revision: "v1" });
    fleet.advance(1);
    assert.deepEqual([newestRecord(fleet).run.controller_revision, newestRecord(fleet).run.attempt], ["v1", 2]);
  });

  it("after an operator's abort starts an attempt only for an operator", () => {
    const fleet = withRun();
    fleet.publishControl({ verb: "abort", caller: "operator", reason: "wrong build" });
    fleet.publishControl({ verb: "end", caller: "flagger", result: "failed", revision: "v2" });
    fleet.publishControl({ ...FLAGGER_CALLS, revision: "v2", gate: "confirm-rollout" });
    fleet.advance(1);
    assert.deepEqual([newestRecord(fleet).run.state, newestRecord(fleet).run.attempt], ["aborted", 1]);
    fleet.publishControl({ verb: "start", caller: "operator", revision: "v2" });
    fleet.advance(1);
    assert.equal(newestRecord(fleet).run.attempt, 2);
  });
});

describe("the weight", () => {
  it("is unknown, not 0, until it is reported; a pre-rollout call is a report of 0", () => {
    const fleet = createSimulatedFleet();
    fleet.advance(30);
    fleet.publishControl({ ...FLAGGER_CALLS, revision: "v2", gate: "confirm-rollout" });
    fleet.advance(1);
    assert.equal(newestRecord(fleet).run.weight, null);
    fleet.publishControl({ verb: "gate", caller: "flagger", gate: "pre-rollout", allowed: true, revision: "v2" });
    fleet.advance(1);
    assert.equal(newestRecord(fleet).run.weight, 0);
  });

  it("is above 0 as soon as an increase is granted, and 0 again when pre-rollout withdraws the grant", () => {
    const fleet = createSimulatedFleet();
    fleet.advance(30);
    fleet.publishControl({ ...FLAGGER_CALLS, revision: "v2", gate: "confirm-rollout" });
    const gate = (name: string) =>
      fleet.publishControl({ verb: "gate", caller: "flagger", gate: name, allowed: true, revision: "v2" });
    gate("pre-rollout");
    gate("confirm-traffic-increase");
    fleet.advance(1);
    assert.deepEqual([newestRecord(fleet).run.granted, newestRecord(fleet).run.weight], [true, 1]);
    gate("pre-rollout");
    fleet.advance(1);
    assert.deepEqual([newestRecord(fleet).run.granted, newestRecord(fleet).run.weight], [false, 0]);
  });
});

describe("a controller's end", () => {
  it("of another revision than the open run's changes nothing and is reported", () => {
    const fleet = withRun();
    fleet.publishControl({ verb: "end", caller: "flagger", result: "succeeded", revision: "v1" });
    fleet.advance(1);
    assert.equal(newestRecord(fleet).run.state, "active");
    assert.ok(newestRecord(fleet).incidents.includes("end_ignored"));
  });

  it("is a pass only if the run was promotable, or its promotion was granted", () => {
    const early = withRun({ promoteAfterPassWindows: 12 });
    early.publishControl({ verb: "end", caller: "flagger", result: "succeeded", revision: "v2" });
    early.advance(1);
    assert.equal(newestRecord(early).run.state, "unjudged");
    assert.ok(newestRecord(early).incidents.includes("run_unjudged"));
    assert.equal(newestRecord(early).body.stable_may_promote, false);
    const earned = withRun();
    earned.advance(120);
    assert.equal(newestRecord(earned).run.promotable, true, newestRecord(earned).story);
    earned.publishControl({ verb: "gate", caller: "flagger", gate: "confirm-promotion", allowed: true, revision: "v2" });
    for (const gateway of earned.slice("canary")) gateway.health = "timeout";
    earned.advance(10);
    earned.publishControl({ verb: "end", caller: "flagger", result: "succeeded", revision: "v2" });
    earned.advance(1);
    assert.equal(newestRecord(earned).run.state, "passed");
    assert.equal(newestRecord(earned).body.stable_may_promote, true);
  });
});

describe("a silent judging caller", () => {
  it("is a hold with an incident after its lease, and its next call clears it", () => {
    const fleet = withRun({ callerLease: "2m" });
    fleet.advance(180);
    const gone = newestRecord(fleet);
    assert.deepEqual([gone.body.verdict, gone.body.reasons[0]?.code], ["hold", "caller_gone"], gone.story);
    assert.equal(gone.incidents.filter((code) => code === "caller_gone").length, 1);
    fleet.publishControl({ verb: "phase", caller: "flagger", phase: "Progressing", revision: "v2" });
    fleet.advance(1);
    assert.equal(newestRecord(fleet).body.verdict, "pass", newestRecord(fleet).story);
  });

  it("ends the run as passed if its promotion was granted, and as expired if its release was removed", () => {
    const promoted = withRun({ callerLease: "2m" });
    promoted.publishControl({ verb: "gate", caller: "flagger", gate: "confirm-promotion", allowed: true, revision: "v2" });
    promoted.advance(150);
    assert.equal(newestRecord(promoted).run.state, "passed", newestRecord(promoted).story);
    const removed = withRun({ callerLease: "2m" });
    setPack(removed, STABLE_PACK);
    removed.advance(150);
    assert.equal(newestRecord(removed).run.state, "expired", newestRecord(removed).story);
  });
});

describe("the release under test", () => {
  it("of a new revision is not that of the previous one, which the Macs still run", () => {
    for (const isOver of [false, true]) {
      const fleet = withRun({ settleRelease: "10m" });
      if (isOver) fleet.publishControl({ verb: "end", caller: "flagger", result: "failed", revision: "v2" });
      fleet.publishControl({ ...FLAGGER_CALLS, revision: "v3", gate: "confirm-rollout" });
      fleet.publishControl({ verb: "weight", caller: "flagger", weight: 10, revision: "v3" });
      fleet.advance(30);
      assert.equal(newestRecord(fleet).run.state, "pending", newestRecord(fleet).story);
      setPack(fleet, "c".repeat(64));
      assert.equal(newestRecord(fleet).run.state, "warming", newestRecord(fleet).story);
      fleet.advance(60);
      assert.equal(newestRecord(fleet).body.verdict, "pass", newestRecord(fleet).story);
    }
  });

  it("of a new revision is the previous one's if the Macs do not change for settleRelease", () => {
    const fleet = withRun({ settleRelease: "3m" });
    fleet.publishControl({ ...FLAGGER_CALLS, revision: "v3", gate: "confirm-rollout" });
    fleet.publishControl({ verb: "weight", caller: "flagger", weight: 10, revision: "v3" });
    fleet.advance(170);
    assert.equal(newestRecord(fleet).run.state, "pending");
    fleet.advance(15);
    assert.equal(newestRecord(fleet).run.state, "warming", newestRecord(fleet).story);
  });

  it("of a new revision is not the failed one that the Macs still run", () => {
    const fleet = withRun({ settleRelease: "10m" });
    fail(fleet);
    fleet.publishControl({ ...FLAGGER_CALLS, revision: "v3", gate: "confirm-rollout" });
    fleet.advance(30);
    assert.deepEqual(
      [newestRecord(fleet).run.controller_revision, newestRecord(fleet).run.state],
      ["v3", "pending"],
      newestRecord(fleet).story,
    );
    setPack(fleet, "c".repeat(64));
    assert.equal(newestRecord(fleet).run.state, "warming");
  });

  it("of a new revision is not the previous revision's, which the Macs still run", () => {
    const fleet = withRun({ settleRelease: "10m" });
    fleet.publishControl({ verb: "announce", caller: "flagger", revision: "v3", gate: "confirm-rollout" });
    fleet.advance(30);
    assert.deepEqual(
      [newestRecord(fleet).run.controller_revision, newestRecord(fleet).run.state],
      ["v3", "pending"],
      newestRecord(fleet).story,
    );
    fleet.publishControl({ verb: "announce", caller: "flagger", revision: "v4", gate: "confirm-rollout" });
    fleet.publishControl({ verb: "weight", caller: "flagger", weight: 10, revision: "v4" });
    fleet.advance(300);
    assert.deepEqual(
      [newestRecord(fleet).run.controller_revision, newestRecord(fleet).run.state],
      ["v4", "pending"],
      newestRecord(fleet).story,
    );
    setPack(fleet, "c".repeat(64));
    assert.equal(newestRecord(fleet).run.state, "warming");
  });

  it("is awaited for settleRelease once traffic is shifted, and then judged as found", () => {
    const fleet = createSimulatedFleet({ policy: { settleRelease: "5m" } });
    fleet.advance(30);
    fleet.publishControl({ ...FLAGGER_CALLS, revision: "v2", gate: "confirm-rollout" });
    fleet.publishControl({ verb: "phase", caller: "flagger", phase: "Progressing", revision: "v2" });
    fleet.publishControl({ verb: "weight", caller: "flagger", weight: 10, revision: "v2" });
    fleet.advance(240);
    assert.equal(newestRecord(fleet).run.state, "pending", "a phase pins nothing");
    fleet.advance(62);
    assert.equal(newestRecord(fleet).run.state, "warming");
  });
});

describe("evidence", () => {
  it("before the announced pack arrived leaves no evidence: the run warms up again", () => {
    const fleet = createSimulatedFleet();
    fleet.advance(60);
    fleet.publishControl({ ...FLAGGER_CALLS, revision: "v2", gate: "confirm-rollout", skill_hash: NEW_PACK });
    fleet.publishControl({ verb: "weight", caller: "flagger", weight: 10, revision: "v2" });
    fleet.advance(150);
    assert.equal(newestRecord(fleet).run.promotable, true, newestRecord(fleet).story);
    setPack(fleet, NEW_PACK);
    const { run, body } = newestRecord(fleet);
    assert.deepEqual([run.state, run.promotable, body.verdict], ["warming", false, "hold"]);
    for (const gateway of fleet.slice("canary")) gateway.errors = 60;
    fleet.advance(5);
    fleet.publishControl({ verb: "end", caller: "flagger", result: "succeeded", revision: "v2" });
    fleet.advance(1);
    assert.equal(newestRecord(fleet).run.state, "unjudged", newestRecord(fleet).story);
  });

  it("does not count after Flagger has restarted its analysis from weight 0 under the same name", () => {
    const fleet = withRun();
    fleet.advance(120);
    assert.equal(newestRecord(fleet).run.promotable, true);
    fleet.publishControl({ verb: "gate", caller: "flagger", gate: "pre-rollout", allowed: true, revision: "v2" });
    fleet.advance(1);
    const { run } = newestRecord(fleet);
    assert.deepEqual([run.state, run.weight, run.promotable], ["warming", 0, false]);
  });

  it("does not count after such a restart whose event reported the weight of 0 before", () => {
    const fleet = withRun();
    const gate = (name: string) =>
      fleet.publishControl({ verb: "gate", caller: "flagger", gate: name, allowed: true, revision: "v2" });
    gate("confirm-traffic-increase");
    fleet.advance(120);
    assert.equal(newestRecord(fleet).run.promotable, true);
    fleet.publishControl({ verb: "weight", caller: "flagger", weight: 0, revision: "v2" });
    gate("pre-rollout");
    fleet.advance(1);
    assert.deepEqual([newestRecord(fleet).run.state, newestRecord(fleet).run.promotable], ["warming", false]);
    fleet.advance(10);
    gate("pre-rollout");
    fleet.advance(1);
    assert.equal(newestRecord(fleet).run.state, "active", "it restarts once, however often the gate is called");
  });

  it("does not count under another policy, across a restart", () => {
    const fleet = withRun();
    fleet.advance(120);
    const { state } = reduceFleet(fleet);
    assert.equal(state.canaries.get(CANARY_KEY)!.run!.promotable, true);
    const stricter = createSimulatedFleet({ policy: { thresholds: { maxP99: "20ms" } } }).config;
    const restored = decodeCheckpoint(encodeCheckpoint(state), stricter)!.canaries.get(CANARY_KEY)!;
    const { promotable, consecutivePass, judged } = restored.run!;
    assert.deepEqual([promotable, consecutivePass, judged, restored.lastPromotable], [false, 0, 0, false]);
  });
});

describe("a failed pack", () => {
  it("is not the release of any later revision while the Macs still run it", () => {
    const fleet = withRun({ settleRelease: "10m", macRelease: "required" });
    fail(fleet);
    for (const revision of ["v3", "v4", "v5"]) {
      fleet.publishControl({ ...FLAGGER_CALLS, revision, gate: "confirm-rollout" });
      fleet.advance(30);
      const { run } = newestRecord(fleet);
      assert.deepEqual(
        [run.controller_revision, run.state, run.mac_release_ok],
        [revision, "pending", false],
        newestRecord(fleet).story,
      );
    }
  });

  it("is the release of its next attempt once it was restored and installed again", () => {
    const fleet = withRun({ settleRelease: "10m", macRelease: "required" });
    fail(fleet);
    fleet.publishControl({ verb: "end", caller: "flagger", result: "failed", revision: "v2" });
    setPack(fleet, STABLE_PACK);
    fleet.publishControl({ ...FLAGGER_CALLS, revision: "v2", gate: "confirm-rollout" });
    fleet.advance(5);
    assert.equal(newestRecord(fleet).promotion?.failed, null, "the promoter may install it");
    setPack(fleet, NEW_PACK);
    assert.deepEqual([newestRecord(fleet).run.attempt, newestRecord(fleet).run.state], [2, "warming"], newestRecord(fleet).story);
  });

  it("is never the release that the canary is restored to, even if a stable gateway differs", () => {
    const fleet = withRun();
    fleet.gateway("stable-a").pack = "d".repeat(64);
    fail(fleet);
    assert.equal(newestRecord(fleet).promotion?.stable, STABLE_PACK, "the last pack that the slice agreed on");
    setPack(fleet, STABLE_PACK);
    assert.equal(newestRecord(fleet).run.canary_active, false);
  });
});

describe("an operator's verb", () => {
  for (const caller of ["flagger", "rollouts", "keda", "flux"] as const) {
    it(`of ${caller} changes nothing and raises an incident`, () => {
      const fleet = withRun();
      fail(fleet);
      const before = newestRecord(fleet).run;
      fleet.publishControl({ verb: "clear", caller, reason: "x" });
      fleet.publishControl({ verb: "start", caller, revision: "v9" });
      fleet.publishControl({ verb: "pause", caller, reason: "x" });
      fleet.advance(1);
      assert.deepEqual(newestRecord(fleet).run, before);
      assert.ok(newestRecord(fleet).incidents.includes("caller_conflict"));
    });
  }
});
