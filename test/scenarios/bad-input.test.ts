/**
 * For any message on the log, the evaluator neither crashes nor passes: each invalid message becomes a dead letter with its
 * reason, late or foreign ones do not count, and a flood stays small.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type DeadLetter, type DeadReason, deadLetterSchema } from "@aviary/shared/contract/dead.ts";
import { until } from "@aviary/shared/testing/until.ts";
import { jsonOf, publishedVerdicts, readStream, verdictWhere } from "../fleet/records.ts";
import { startTestFleet, type TestFleet } from "../fleet/test-fleet.ts";

const BOOT = `${Date.now().toString(36)}-00000000000000ff`;
let seq = 0;

/** A valid signal except for `change`; every call uses the next sequence number. */
function signal(gateway: string, change: Record<string, unknown> = {}, body: Record<string, unknown> = {}): string {
  seq += 1;
  const latency = { scale: 6, zero: 0, offset: 340, counts: [100] };
  return JSON.stringify({
    v: 1,
    id: `az-a.payments.${gateway}.${BOOT}.${seq}`,
    az: "az-a",
    fleet: "payments",
    gateway,
    collector_boot: BOOT,
    seq,
    slice: "canary",
    gateway_version: "2026.9.7",
    skill_hash: "a".repeat(64),
    fragment_hash: "b".repeat(64),
    observed_at: new Date().toISOString(),
    period_ms: 500,
    kind: "http",
    body: { source: "access-log", requests: 100, errors_5xx: 0, latency, ...body },
    ...change,
  });
}

const control = (verb: string, change: Record<string, unknown> = {}): string =>
  JSON.stringify({ v: 1, id: `x-${verb}`, caller: "operator", at: new Date().toISOString(), verb, reason: "x", ...change });

type Payload = (gateway: string) => string | Uint8Array;

/** Signals of the canary gateway, and the expected reason of their dead letter. */
const BAD_SIGNALS: readonly (readonly [DeadReason, string, Payload])[] = [
  ["bad_json", "nothing", () => ""],
  ["bad_json", "half an object", () => "{"],
  ["bad_json", "no text", () => new Uint8Array([0xff, 0xfe, 0x00, 0x01])],
  ["bad_json", "NaN", (gateway) => signal(gateway).replace('"requests":100', '"requests":NaN')],
  ["bad_shape", "null", () => "null"],
  ["bad_shape", "a list", () => "[]"],
  ["bad_shape", "a deep list", () => "[".repeat(6_000) + "]".repeat(6_000)],
  ["bad_shape", "a prototype", () => '{"__proto__":{"v":1}}'],
  ["bad_shape", "infinity", (gateway) => signal(gateway).replace('"requests":100', '"requests":1e999')],
  ["bad_shape", "not a count", (gateway) => signal(gateway, {}, { requests: null })],
  ["bad_shape", "a negative count", (gateway) => signal(gateway, {}, { requests: -1 })],
  ["bad_shape", "a broken count", (gateway) => signal(gateway, {}, { requests: 1.5 })],
  ["bad_shape", "a count as text", (gateway) => signal(gateway, {}, { requests: "100" })],
  ["bad_shape", "a count beyond exactness", (gateway) => signal(gateway, {}, { requests: 1e300 })],
  [
    "bad_shape",
    "a negative bucket",
    (gateway) => signal(gateway, {}, { latency: { scale: 6, zero: -5, offset: 0, counts: [] } }),
  ],
  ["bad_shape", "a far bucket", (gateway) => signal(gateway, {}, { latency: { scale: 6, zero: 0, offset: 1e9, counts: [1] } })],
  ["bad_shape", "a day that does not exist", (gateway) => signal(gateway, { observed_at: "2026-13-45T29:61:61.000Z" })],
  ["bad_shape", "a time in words", (gateway) => signal(gateway, { observed_at: "yesterday" })],
  ["bad_shape", "number zero", (gateway) => signal(gateway, { seq: 0 })],
  ["bad_shape", "a negative period", (gateway) => signal(gateway, { period_ms: -500 })],
  ["impossible_counts", "more errors than requests", (gateway) => signal(gateway, {}, { errors_5xx: 101 })],
  ["unknown_version", "a later version", (gateway) => signal(gateway, { v: 2 })],
  ["too_large", "half a megabyte", (gateway) => signal(gateway, { note: "x".repeat(500_000) })],
  ["from_the_future", "the year 2099", (gateway) => signal(gateway, { observed_at: "2099-01-01T00:00:00.000Z" })],
  ["wrong_identity", "another gateway's name", () => signal("mac-a2")],
  [
    "wrong_identity",
    "another kind",
    (gateway) => signal(gateway, { kind: "disk", body: { used_ratio: 0.1, total_bytes: 1, tier: "2TB", writable: true } }),
  ],
];

/** Messages with an invalid subject. */
const BAD_SUBJECTS: readonly (readonly [DeadReason, string, string])[] = [
  ["wrong_identity", "signals.az-b.payments.mac-a1.http", signal("mac-a1")],
  ["wrong_identity", "signals.az-b.payments.mac-a1.http", signal("mac-a1", { az: "az-b" })],
  ["bad_subject", "signals.az-a.payments.mac-a1.rumour", "{}"],
  ["bad_subject", "signals.az-a.payments", "{}"],
  ["wrong_identity", "control.payments.prod.nobody.abort", control("abort")],
  ["wrong_identity", "control.payments.prod.payments-gateway.clear", control("abort")],
  ["bad_shape", "control.payments.prod.payments-gateway.weight", control("weight", { weight: 1e9 })],
  ["bad_subject", "control.payments.prod.payments-gateway.explode", "{}"],
];

async function letters(fleet: TestFleet): Promise<DeadLetter[]> {
  return (await readStream(fleet.bus, "DEAD")).map((message) => deadLetterSchema.parse(jsonOf(message)));
}

async function drained(fleet: TestFleet): Promise<void> {
  const { lastSequence } = await fleet.bus.streamState("INPUTS");
  await until(
    "the evaluator has applied all of it",
    async () => ((await fleet.metric("evaluator", "aviary_evaluator_log_sequence")) ?? 0) >= lastSequence,
    { pollMs: 50 },
  );
}

test("invalid messages on the real log become dead letters and change no verdict", async (t) => {
  const gateways = BAD_SIGNALS.map((_, index) => `mac-${index}`);
  const fleet = await startTestFleet(t, { parts: ["evaluator"], canaryGateways: [...gateways, "mac-late"] });
  if (fleet === undefined) return;
  const { bus } = fleet;
  await fleet.openRun("v2");
  const wanted = new Map<number, string>();
  const publish = async (subject: string, data: string | Uint8Array): Promise<number> =>
    (await bus.publish({ subject, data })).sequence;
  // One gateway for each, because dead letters are limited per sender and minute.
  for (const [index, [reason, what, payload]] of BAD_SIGNALS.entries()) {
    const gateway = `mac-${index}`;
    wanted.set(await publish(`signals.az-a.payments.${gateway}.http`, payload(gateway)), `${reason}: ${what}`);
  }
  for (const [reason, subject, data] of BAD_SUBJECTS) wanted.set(await publish(subject, data), `${reason}: ${subject}`);
  // Signals that are late, repeated, or have a sequence number far ahead. They are valid but not evidence of the current state.
  const late = "signals.az-a.payments.mac-late.http";
  await publish(late, signal("mac-late", { observed_at: "1970-01-01T00:00:00.000Z" }));
  const twice = signal("mac-late");
  await publish(late, twice);
  await publish(late, twice);
  await publish(late, signal("mac-late", { seq: Number.MAX_SAFE_INTEGER }));
  await drained(fleet);
  await verdictWhere(bus, "a window is judged", ({ body }) => body.window !== null, "new");

  await until("dead letters are written", async () => (await letters(fleet)).length >= wanted.size, { pollMs: 50 });
  const received = await letters(fleet);
  const got = new Map(received.map(({ sequence, reason }) => [sequence, reason]));
  assert.deepEqual(
    [...wanted].map(([sequence, what]) => `${got.get(sequence)}: ${what.replace(/^\w+: /, "")}`),
    [...wanted.values()],
    "each is a dead letter with its reason",
  );
  assert.equal(received.length, wanted.size, "and nothing else");
  const verdicts = await publishedVerdicts(bus);
  assert.deepEqual([...new Set(verdicts.map(({ body }) => body.verdict))], ["hold"], "none of it causes a pass or a fail");
  await fleet.assertMatchesReplay();
  fleet.assertNoCrashes();
});

test("a flood of invalid messages stays small and is counted", async (t) => {
  const fleet = await startTestFleet(t, { parts: ["evaluator"] });
  if (fleet === undefined) return;
  const { bus } = fleet;
  const flood = Array.from({ length: 2_000 }, (_, index) =>
    bus.publish({ subject: `signals.az-a.payments.mac-a1.${index % 2 === 0 ? "http" : `rumour-${index}`}`, data: "{" }),
  );
  await Promise.all(flood);
  await drained(fleet);
  await until("dead letters are written", async () => (await letters(fleet)).length >= 10, { pollMs: 50 });
  const received = await letters(fleet);
  // The minute of the broker's clock may have changed once meanwhile.
  assert.ok(
    received.length >= 10 && received.length <= 30,
    `${received.length} dead letters for 2000 invalid messages of one gateway`,
  );
  assert.equal(await fleet.metric("evaluator", 'aviary_evaluator_inputs_total{kind="unreadable"}'), 2_000);
  const incidents = (await bus.streamState("INCIDENTS")).messages;
  assert.ok(incidents <= 3, `${incidents} incidents`);
  fleet.assertNoCrashes();
});
