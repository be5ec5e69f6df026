import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { aRun } from "@aviary/shared/testing/builders.ts";
import {
  announceDrafts,
  eventDrafts,
  type GateCall,
  gateDrafts,
  type KnownRun,
  namedAtGate,
  namedByCaller,
} from "../src/adapters/control-drafts.ts";
import { type FlaggerCall, readEventMessage, readFlaggerCall } from "../src/adapters/flagger-payload.ts";
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
const run = (change: Parameters<typeof aRun>[0] = {}): KnownRun => aRun(change);
const verbs = (drafts: readonly { content: { verb: string } }[]): string[] => drafts.map(({ content }) => content.verb);

const postRolloutDrafts = (phase: string, known: KnownRun) =>
  gateDrafts({
    call: call({ phase }),
    gate: "post-rollout",
    allowed: true,
    named: { revision: undefined, unseen: false },
    run: known,
    caller: "flagger",
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
    assert.deepEqual(named, { revision: "v3", unseen: true });
    assert.deepEqual(namedByCaller("v2", run({ controller_revision: "v2" })), { revision: "v2", unseen: false });
  });

  it("is the checksum from pre-rollout on, never at confirm-rollout, where it is still the previous one's", () => {
    assert.deepEqual(namedAtGate(call(), "confirm-rollout", null), { revision: undefined, unseen: false });
    assert.deepEqual(namedAtGate(call(), "pre-rollout", null), { revision: "checksum:555b75665", unseen: true });
    const same = run({ controller_revision: "checksum:555b75665" });
    assert.deepEqual(namedAtGate(call(), "rollout", same), { revision: "checksum:555b75665", unseen: false });
    assert.equal(namedAtGate(call({ checksum: "786bdf775f" }), "rollout", same).unseen, true);
  });

  it("is not the checksum while an open run is identified by a name: only some hooks may carry the metadata", () => {
    for (const state of ["pending", "active", "failed", "aborted"] as const) {
      const named = namedAtGate(call(), "rollout", run({ state, controller_revision: "v2", canary_active: state !== "aborted" }));
      assert.deepEqual(named, { revision: undefined, unseen: false }, state);
    }
    const over = run({ state: "passed", controller_revision: "v2", canary_active: false });
    assert.equal(namedAtGate(call(), "pre-rollout", over).unseen, true);
  });

  it("is a newer one at confirm-rollout after a run identified by its checksum: a failed run must not block it", () => {
    const failed = run({ state: "failed", controller_revision: "checksum:555b75665" });
    assert.deepEqual(namedAtGate(call({ phase: "Failed" }), "confirm-rollout", failed), { revision: undefined, unseen: true });
  });
});

describe("control drafts", () => {
  it("an announcement carries the revision's details, and is drafted once", () => {
    const named = namedByCaller("v3", null);
    const [draft] = announceDrafts(named, { revision: "v3", skillHash: HASH, gatewayVersion: "2026.9.6" }, null, "flagger");
    assert.deepEqual(draft?.content, {
      verb: "announce",
      caller: "flagger",
      revision: "v3",
      skill_hash: HASH,
      gateway_version: "2026.9.6",
    });
    assert.deepEqual(
      announceDrafts(namedByCaller("v2", run({ controller_revision: "v2" })), { revision: "v2" }, null, "flagger"),
      [],
    );
  });

  it("only the first confirm gate of a run, and gates that are allowed while it is pending, are drafted", () => {
    const seen = { revision: "v2", unseen: false };
    const contentOf = (gate: GateCall["gate"], allowed: boolean, known: KnownRun) =>
      gateDrafts({ call: call(), gate, allowed, named: seen, run: known, caller: "flagger" }).map(({ content }) => content);
    assert.deepEqual(contentOf("confirm-traffic-increase", false, run()), [
      { verb: "gate", caller: "flagger", gate: "confirm-traffic-increase", allowed: false, revision: "v2" },
    ]);
    assert.deepEqual(contentOf("confirm-traffic-increase", false, run({ gated: true })), []);
    assert.deepEqual(contentOf("rollout", true, run({ gated: true })), []);
    assert.deepEqual(contentOf("rollback", true, run()), []);
    const pending = run({ state: "pending", gated: true });
    assert.equal(contentOf("confirm-rollout", true, pending).length, 1);
    assert.equal(contentOf("pre-rollout", true, pending).length, 1);
    assert.equal(contentOf("confirm-rollout", false, pending).length, 0);
  });

  it("post-rollout ends an open run with Flagger's own result, and only then", () => {
    const contentOf = (phase: string, known: KnownRun) => postRolloutDrafts(phase, known).map(({ content }) => content);
    assert.deepEqual(contentOf("Succeeded", run()), [{ verb: "end", caller: "flagger", result: "succeeded" }]);
    assert.deepEqual(contentOf("Failed", run({ state: "failed" })), [{ verb: "end", caller: "flagger", result: "failed" }]);
    assert.deepEqual(contentOf("Finalising", run()), []);
    assert.deepEqual(contentOf("Succeeded", run({ state: "passed", canary_active: false })), []);
  });

  it("the event and the post-rollout hook of one end are one message", () => {
    const [fromHook] = postRolloutDrafts("Succeeded", run());
    const [fromEvent] = eventDrafts(event("Promotion completed! Scaling down gw.prod", { phase: "Succeeded" }), run(), "flagger");
    assert.deepEqual(fromHook, fromEvent);
  });

  it("an event about the next revision never ends the run: its phase is still the last one's", () => {
    const named = { phase: "Succeeded", metadata: { version: "v3" } };
    assert.deepEqual(
      eventDrafts(event("Confirm-rollout check go passed", named), run({ controller_revision: "v3" }), "flagger"),
      [],
    );
  });

  it("an event during an analysis reports weight and phase, and announces the revision of its metadata", () => {
    const drafts = eventDrafts(event("Advance gw.prod canary weight 20", { metadata: { version: "v3" } }), null, "flagger");
    assert.deepEqual(verbs(drafts), ["announce", "weight", "phase"]);
    const again = eventDrafts(
      event("Advance gw.prod canary weight 20", { metadata: { version: "v3" } }),
      run({ controller_revision: "v3" }),
      "flagger",
    );
    assert.deepEqual(verbs(again), ["weight", "phase"]);
    assert.equal(again[0]?.discriminator, drafts[1]?.discriminator, "two deliveries of one event are one weight");
  });
});
