import assert from "node:assert/strict";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import type { Bus } from "@aviary/shared/bus/bus.ts";
import { createMemoryBus } from "@aviary/shared/bus/memory.ts";
import { canaryKey, verdictSubject } from "@aviary/shared/contract/subjects.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import { silentLogger } from "@aviary/shared/runtime/logger.ts";
import { aVerdict, BUILT_AT } from "@aviary/shared/testing/builders.ts";
import { manualClock } from "@aviary/shared/testing/manual-clock.ts";
import type { Effect } from "../../src/core/effects.ts";
import { type Batch, createPerformer, type PerformerOptions, type PublishedVerdicts } from "../../src/io/perform.ts";

const AT_MS = Date.parse(BUILT_AT);
const NOTHING_PUBLISHED: PublishedVerdicts = { newestAtMs: 0, byCanary: new Map() };

function performerOn(bus: Bus, change: Partial<PerformerOptions> = {}) {
  const seen = { performed: [] as string[], progress: 0, taken: 0, fatal: [] as unknown[] };
  const performer = createPerformer({
    bus,
    clock: manualClock(AT_MS),
    log: silentLogger,
    mayPerform: () => true,
    published: NOTHING_PUBLISHED,
    takeCheckpoint: () => {
      seen.taken += 1;
      return `"${seen.taken}"`;
    },
    onPerformed: (kind) => void seen.performed.push(kind),
    onProgress: () => {
      seen.progress += 1;
    },
    onFatal: (error) => void seen.fatal.push(error),
    signal: new AbortController().signal,
    ...change,
  });
  return { performer, seen };
}

const verdictAt = (at: string): Effect => ({ kind: "verdict", record: aVerdict({ at, valid_until: at }) });
const batchAt = (atMs: number, effects: readonly Effect[]): Batch => ({ atMs, effects });

test("batches performed by an earlier evaluator count as progress, so that reading never stays paused", async () => {
  const bus = createMemoryBus({ clock: manualClock(AT_MS) });
  const { performer, seen } = performerOn(bus, { published: { newestAtMs: AT_MS + 1, byCanary: new Map() } });
  for (let index = 0; index < 300; index++) performer.enqueue(batchAt(AT_MS, [verdictAt(BUILT_AT)]));
  await performer.idle();
  assert.deepEqual(seen, { performed: [], progress: 300, taken: 0, fatal: [] });
  assert.equal((await bus.streamState("VERDICTS")).messages, 0);
});

test("the newest verdict is not published again, even if the broker has dropped its id", async () => {
  const clock = manualClock(AT_MS);
  const bus = createMemoryBus({ clock });
  const old = verdictAt("2026-11-21T09:59:00.000Z");
  const last = verdictAt(BUILT_AT);
  const next = verdictAt("2026-11-21T10:01:00.000Z");
  const { subject, id } = (last as Extract<Effect, { kind: "verdict" }>).record.body;
  await bus.publish({ subject: verdictSubject(subject), data: "{}", id });
  clock.advance(3_600_000);
  // After a pause, one step may contain the verdicts of many deadlines.
  const published: PublishedVerdicts = { newestAtMs: AT_MS, byCanary: new Map([[canaryKey(subject), { id, atMs: AT_MS }]]) };
  const { performer, seen } = performerOn(bus, { clock, published });
  performer.enqueue(batchAt(AT_MS + 90_000, [old, last, next]));
  await performer.idle();
  assert.deepEqual(seen.performed, ["verdict"]);
  assert.equal((await bus.streamState("VERDICTS")).messages, 2);
});

test("after a permanent failure no effect is performed, so no checkpoint points past it", async () => {
  const bus = createMemoryBus({ clock: manualClock(AT_MS) });
  const failing = Object.create(bus, { publish: { value: () => Promise.reject(terminal("publish_refused", "no")) } }) as Bus;
  const { performer, seen } = performerOn(failing);
  performer.enqueue(batchAt(AT_MS, [verdictAt(BUILT_AT)]));
  await performer.idle();
  assert.equal(seen.fatal.length, 1);
  performer.enqueue(batchAt(AT_MS + 1, [{ kind: "checkpoint" }]));
  await performer.idle();
  assert.deepEqual(seen.performed, []);
  assert.equal(await (await bus.bucket("checkpoint")).get("evaluator"), undefined);
});

test("checkpoints requested while other batches are pending are saved as one, after all of them", async () => {
  const bus = createMemoryBus({ clock: manualClock(AT_MS) });
  const { performer, seen } = performerOn(bus);
  const minutes = ["2026-11-21T10:01:00.000Z", "2026-11-21T10:02:00.000Z", "2026-11-21T10:03:00.000Z"];
  for (const at of minutes) performer.enqueue(batchAt(Date.parse(at), [verdictAt(at), { kind: "checkpoint" }]));
  performer.enqueue(batchAt(Date.parse("2026-11-21T10:04:00.000Z"), [verdictAt("2026-11-21T10:04:00.000Z")]));
  await performer.idle();
  assert.deepEqual(seen.performed, ["verdict", "verdict", "verdict", "verdict", "checkpoint"]);
  assert.equal(seen.taken, 1);
  const saved = await (await bus.bucket("checkpoint")).get("evaluator");
  assert.equal(gunzipSync(saved?.value ?? "").toString(), '"1"');
});
