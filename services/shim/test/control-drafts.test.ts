import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { aRun } from "@aviary/shared/testing/builders.ts";
import {
  announceDrafts,
  eventDrafts,
  type GateCall,
  gateDrafts,
  lostEndDrafts,
  namedAtGate,
} from "../src/adapters/control-drafts.ts";
import { type FlaggerCall, readEventMessage, readFlaggerCall } from "../src/adapters/flagger-payload.ts";
import { NO_RUNS, requestSubject, type StoredRuns, standingOf } from "../src/response/standing.ts";
import { flaggerBody } from "./harness.ts";

const HASH = "d".repeat(64);
const call = (change: Record<string, unknown> = {}): FlaggerCall => {
  const read = readFlaggerCall(flaggerBody(change));
  assert.ok(read);
  return read;
};
const event = (message: string, change: Record<string, unknown> = {}): FlaggerCall =>
  call({
    ...change,
    metadata: { eventMessage: message, eventType: "Normal", timestamp: "1795240267599", ...(change.metadata ?? {}) },
  });
const run = (change: Parameters<typeof aRun>[0] = {}): StoredRuns => ({ run: aRun(change), revisions: [] });
const FLAGGER = { class: "flagger", id: "flagger-1", interval: 7 } as const;
const from = { caller: "flagger", by: "flagger-1" };
const verbs = (drafts: readonly { content: { verb: string } }[]): string[] => drafts.map(({ content }) => content.verb);

const postRolloutDrafts = (phase: string, runs: StoredRuns) =>
  gateDrafts({
    call: call({ phase }),
    gate: "post-rollout",
    allowed: true,
    subject: requestSubject({ revision: undefined }, runs),
    sender: FLAGGER,
  });

describe("a Flagger webhook's body", () => {
  it("requires a name only; null metadata, unknown keys and any phase are accepted", () => {
    assert.ok(readFlaggerCall({ name: "gw" }));
    assert.ok(readFlaggerCall({ name: "gw", namespace: "prod", metadata: null, phase: "Whatever", more: { a: 1 } }));
    for (const bad of [undefined, null, 3, "text", [], {}, { name: "" }, { name: 7 }])
      assert.equal(readFlaggerCall(bad), undefined);
  });

  it("names the revision by `revision`, then `version`; a skill hash must be one", () => {
    assert.equal(call({ metadata: { version: "v2" } }).revision, "v2");
    assert.equal(call({ metadata: { version: "v2", revision: "r7" } }).revision, "r7");
    assert.equal(call({ metadata: { skill_hash: HASH } }).skillHash, HASH);
    assert.equal(call({ metadata: { skill_hash: "short" } }).skillHash, undefined);
  });
});

describe("an event's message", () => {
  const cases: readonly [string, unknown][] = [
    ["Advance gw.prod canary weight 10", { kind: "weight", weight: 10 }],
    ["Advance gw.prod primary weight 60", { kind: "weight", weight: 40 }],
    ["Routing all traffic to canary", { kind: "weight", weight: 100 }],
    ["Stop traffic mirroring and route all traffic to canary", { kind: "weight", weight: 100 }],
    ["Routing all traffic to primary", { kind: "weight", weight: 0 }],
    ["New revision detected! Restarting analysis for gw.prod", { kind: "weight", weight: 0 }],
    ["Promotion completed! Scaling down gw.prod", { kind: "end", result: "succeeded" }],
    ["Promotion completed! Canary analysis was skipped for gw.prod", { kind: "end", result: "succeeded" }],
    ["Canary failed! Scaling down gw.prod", { kind: "end", result: "failed" }],
    ["Promotion of gw.prod failed, primary not ready: deadline", { kind: "end", result: "failed" }],
    ["Confirm-rollout check go passed", undefined],
    ["New revision detected! Scaling up gw.prod", undefined],
    ["Starting canary analysis for gw.prod", undefined],
    ["Advance gw.prod canary iteration 3/10", undefined],
    ["Advance gw.prod canary weight 900", undefined],
    ["Halt gw.prod advancement external check back failed hold: Advance gw.prod canary weight 10", undefined],
  ];
  for (const [message, news] of cases) {
    it(JSON.stringify(message), () => assert.deepEqual(readEventMessage(message), news));
  }
});

describe("the revision that a gate call is about", () => {
  it("is the metadata's at every gate", () => {
    const named = namedAtGate(call({ metadata: { version: "v3" } }), "confirm-rollout", run({ controller_revision: "v2" }));
    assert.deepEqual(named, { revision: "v3" });
  });

  it("is the checksum from pre-rollout on, never at confirm-rollout, where it is still the previous one's", () => {
    assert.deepEqual(namedAtGate(call(), "confirm-rollout", NO_RUNS), { revision: undefined });
    assert.deepEqual(namedAtGate(call(), "pre-rollout", NO_RUNS), { revision: "checksum:555b75665" });
    const same = run({ controller_revision: "checksum:555b75665" });
    assert.deepEqual(namedAtGate(call(), "rollout", same), { revision: "checksum:555b75665" });
    const other = namedAtGate(call({ checksum: "786bdf775f" }), "rollout", same);
    assert.equal(standingOf(other, same).kind, "new");
  });

  it("is not the checksum while an open run is identified by a name: only some hooks may carry the metadata", () => {
    for (const state of ["pending", "active", "failed", "aborted"] as const) {
      const named = namedAtGate(call(), "rollout", run({ state, controller_revision: "v2", canary_active: state !== "aborted" }));
      assert.deepEqual(named, { revision: undefined }, state);
    }
    const over = run({ state: "passed", controller_revision: "v2", canary_active: false });
    assert.equal(standingOf(namedAtGate(call(), "pre-rollout", over), over).kind, "new");
  });

  it("is a newer one at confirm-rollout after a run identified by its checksum: a failed run must not block it", () => {
    const failed = run({ state: "failed", controller_revision: "checksum:555b75665" });
    const named = namedAtGate(call({ phase: "Failed" }), "confirm-rollout", failed);
    assert.deepEqual(standingOf(named, failed), { kind: "new", revision: undefined });
  });
});

describe("confirm-rollout without a name, while an earlier run is open", () => {
  const FLUX = { controller_revision: "main@1", state: "active", seat: "flagger", canary_active: true } as const;
  const claims = (controller: number | null) => ({ controller, balancer: null });
  const shifted = run({ ...FLUX, gated: true, weight: 30, weight_claims: claims(30) });
  const waiting = (phase: string) => call({ phase });
  const lost = (phase: string, runs: StoredRuns, gate: GateCall["gate"] = "confirm-rollout") =>
    lostEndDrafts(waiting(phase), gate, runs, FLAGGER).map(({ content }) => content);
  const end = (result: string) => [{ verb: "end", ...from, result, revision: "main@1" }];

  it("is about another revision once Flagger shifted traffic in that run, and about the run itself before", () => {
    for (const phase of ["Succeeded", "Failed", "Waiting"])
      assert.deepEqual(
        namedAtGate(waiting(phase), "confirm-rollout", shifted),
        { revision: undefined, isAnotherOne: true },
        phase,
      );
    const announced = run({ ...FLUX, state: "pending", canary_active: false, gated: false, granted: false, weight: null });
    assert.deepEqual(namedAtGate(waiting("Succeeded"), "confirm-rollout", announced), { revision: undefined });
    assert.deepEqual(lost("Succeeded", announced), []);
  });

  it("shows the end of that run, whose report was lost, with the result that Flagger's phase states", () => {
    assert.deepEqual(lost("Succeeded", shifted), end("succeeded"));
    assert.deepEqual(lost("Failed", shifted), end("failed"));
    assert.deepEqual(lost("Waiting", shifted), end("failed"), "an unknown result is no success");
    assert.deepEqual(lost("Waiting", run({ ...FLUX, promotion_granted: true })), end("succeeded"));
  });

  it("shows no end at another gate, during an analysis, of a failed run, or of another controller's", () => {
    assert.deepEqual(lost("Failed", shifted, "pre-rollout"), []);
    assert.deepEqual(lost("Progressing", shifted), []);
    assert.deepEqual(lost("Failed", run({ ...FLUX, gated: true, state: "failed" })), []);
    assert.deepEqual(lost("Failed", run({ ...FLUX, gated: true, seat: "rollouts" })), []);
    assert.deepEqual(lost("Failed", run({ ...FLUX, gated: true, state: "passed", canary_active: false })), []);
  });

  it("is followed by a pre-rollout call that names its checksum, but not past an operator's abort", () => {
    const over = (ended_by: "controller" | "operator"): StoredRuns => ({
      run: aRun({ ...FLUX, state: "aborted", canary_active: false }),
      revisions: [{ name: "main@1", attempt: 1, state: "aborted", at: "2026-11-21T10:00:00.000Z", end_reported: true, ended_by }],
    });
    assert.deepEqual(namedAtGate(call(), "pre-rollout", over("controller")), { revision: "checksum:555b75665" });
    assert.deepEqual(namedAtGate(call(), "pre-rollout", over("operator")), { revision: undefined });
  });
});

describe("control drafts", () => {
  const draft = (runs: StoredRuns, revision: string, details = {}) =>
    announceDrafts(standingOf({ revision }, runs), details, runs, FLAGGER);

  it("an announcement carries the revision's details", () => {
    const [announced] = draft(NO_RUNS, "v3", { skillHash: HASH, gatewayVersion: "2026.9.6", gate: "confirm-rollout" });
    assert.deepEqual(announced?.content, {
      verb: "announce",
      ...from,
      revision: "v3",
      skill_hash: HASH,
      gateway_version: "2026.9.6",
      gate: "confirm-rollout",
    });
  });

  it("a gate names the revision of the open run once; a measurement does so once per interval, which shows that its caller is alive", () => {
    const known = run({ controller_revision: "v2" });
    assert.deepEqual(draft(known, "v2", { gate: "rollout" }), []);
    const [first] = draft(known, "v2");
    assert.deepEqual(first, draft(known, "v2")[0]);
    assert.notEqual(
      first?.discriminator,
      announceDrafts(standingOf({ revision: "v2" }, known), {}, known, { ...FLAGGER, interval: 8 })[0]?.discriminator,
    );
  });

  it("a revision that was analyzed before is named again at Flagger's first gates and by measurements only", () => {
    const over = run({ state: "passed", canary_active: false, controller_revision: "v2" });
    for (const gate of ["confirm-rollout", "pre-rollout"] as const) assert.equal(draft(over, "v2", { gate }).length, 1, gate);
    for (const gate of ["rollout", "confirm-traffic-increase", "confirm-promotion"] as const)
      assert.deepEqual(draft(over, "v2", { gate }), [], gate);
    assert.equal(draft(over, "v2").length, 1);
  });

  it("a gate call is drafted if it implies a weight of 0, a gate or a grant; otherwise it only shows that the caller is alive", () => {
    const contentOf = (gate: GateCall["gate"], allowed: boolean, runs: StoredRuns) =>
      gateDrafts({ call: call(), gate, allowed, subject: requestSubject({ revision: "v2" }, runs), sender: FLAGGER }).map(
        ({ content }) => content,
      );
    const known = (change: Parameters<typeof aRun>[0]) => run({ controller_revision: "v2", ...change });
    const gate = (name: string, allowed: boolean) => [{ verb: "gate", gate: name, allowed, ...from, revision: "v2" }];
    const alive = [{ verb: "phase", phase: "Progressing", ...from, revision: "v2" }];
    assert.deepEqual(contentOf("confirm-traffic-increase", false, known({})), gate("confirm-traffic-increase", false));
    assert.deepEqual(contentOf("confirm-traffic-increase", false, known({ gated: true })), alive);
    assert.deepEqual(contentOf("confirm-traffic-increase", true, known({ gated: true })), gate("confirm-traffic-increase", true));
    assert.deepEqual(contentOf("confirm-traffic-increase", true, known({ gated: true, granted: true })), alive);
    assert.deepEqual(contentOf("pre-rollout", true, known({ weight: null })), gate("pre-rollout", true));
    assert.deepEqual(contentOf("pre-rollout", true, known({ weight: 0, granted: true })), gate("pre-rollout", true));
    assert.deepEqual(contentOf("pre-rollout", true, known({ weight: 0 })), alive);
    assert.deepEqual(contentOf("confirm-promotion", true, known({})), gate("confirm-promotion", true));
    assert.deepEqual(contentOf("confirm-promotion", false, known({})), alive);
    assert.deepEqual(contentOf("rollback", false, known({})), alive);
  });

  it("post-rollout ends an open run with Flagger's own result, and reports the end of a closed one once", () => {
    const contentOf = (phase: string, runs: StoredRuns) => postRolloutDrafts(phase, runs).map(({ content }) => content);
    assert.deepEqual(contentOf("Succeeded", run()), [{ verb: "end", ...from, result: "succeeded" }]);
    assert.deepEqual(contentOf("Failed", run({ state: "failed" })), [{ verb: "end", ...from, result: "failed" }]);
    assert.deepEqual(contentOf("Finalising", run()), []);
    const over = { state: "passed", canary_active: false, controller_revision: "v2" } as const;
    const entry = { name: "v2", attempt: 1, state: "passed", at: "2026-11-21T10:00:00.000Z", ended_by: null } as const;
    const withEnd = (end_reported: boolean): StoredRuns => ({ run: aRun(over), revisions: [{ ...entry, end_reported }] });
    assert.deepEqual(contentOf("Succeeded", withEnd(true)), []);
    assert.equal(contentOf("Succeeded", withEnd(false)).length, 1);
  });

  it("the event and the post-rollout hook of one end are one message", () => {
    const [fromHook] = postRolloutDrafts("Succeeded", run());
    const [fromEvent] = eventDrafts(event("Promotion completed! Scaling down gw.prod", { phase: "Succeeded" }), run(), FLAGGER);
    assert.deepEqual(fromHook, fromEvent);
  });

  it("an end names its revision, by metadata or by the checksum of a run that is named so", () => {
    const ended = event("Canary failed! Scaling down gw.prod", { phase: "Failed" });
    const byChecksum = run({ controller_revision: "checksum:786bdf775f" });
    assert.deepEqual(eventDrafts(ended, byChecksum, FLAGGER)[0]?.content, {
      verb: "end",
      ...from,
      result: "failed",
      revision: "checksum:555b75665",
    });
    const byName = event("Canary failed! Scaling down gw.prod", { phase: "Failed", metadata: { version: "v1" } });
    assert.deepEqual(eventDrafts(byName, run({ controller_revision: "v2" }), FLAGGER)[0]?.content, {
      verb: "end",
      ...from,
      result: "failed",
      revision: "v1",
    });
  });

  it("an event about the next revision never ends the run, although its phase is still the previous revision's", () => {
    const named = { phase: "Succeeded", metadata: { version: "v3" } };
    assert.deepEqual(
      eventDrafts(event("Confirm-rollout check go passed", named), run({ controller_revision: "v3" }), FLAGGER),
      [],
    );
  });

  it("an event during an analysis reports weight and phase, and announces nothing", () => {
    const drafts = eventDrafts(event("Advance gw.prod canary weight 20", { metadata: { version: "v3" } }), NO_RUNS, FLAGGER);
    assert.deepEqual(verbs(drafts), ["weight", "phase"]);
    const again = eventDrafts(
      event("Advance gw.prod canary weight 20", { metadata: { version: "v3" } }),
      run({ controller_revision: "v3" }),
      FLAGGER,
    );
    assert.equal(again[0]?.discriminator, drafts[0]?.discriminator, "two deliveries of one event are one weight");
  });
});
