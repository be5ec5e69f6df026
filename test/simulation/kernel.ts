/**
 * Simulated time: a queue of events, each due at a millisecond and owned by one process of a node (or by the world, which never
 * stops).
 * Nothing happens between events. After each event, everything that it made ready runs to completion, so a seed determines
 * exactly one history.
 *
 *   alive ── its events run when they are due
 *   paused ─ its events are held in order, and run one after another when it resumes
 *   dead ─── its events are dropped, and work in flight inside the process is lost
 */

import { type Clock, sleepWith } from "@aviary/shared/runtime/clock.ts";
import { nextTurn } from "@aviary/shared/testing/pass-time.ts";

/** Broker time at the start of every simulation. */
export const START_MS = Date.parse("2026-11-21T10:00:00.000Z");

/** One process of a node, from start to exit. A restart is another process. */
export interface Life {
  readonly node: string;
  readonly number: number;
  readonly bornMs: number;
  alive: boolean;
  paused: boolean;
  readonly held: Event[];
  /**
   * Offset of the node's wall clock from the broker's; a clock step changes it. Read through the node, because it outlives a
   * process.
   */
  readonly wallOffsetMs: () => number;
  readonly onExit: (() => void)[];
}

interface Event {
  dueMs: number;
  order: number;
  readonly life: Life | undefined;
  run: (() => void) | undefined;
}

export interface Kernel {
  /** Milliseconds since the start. */
  readonly nowMs: number;
  /** Runs `fn` after `ms` (at least 0, rounded up). Returns a function that cancels it. */
  after(ms: number, life: Life | undefined, fn: () => void): () => void;
  /** Runs every event up to `untilMs`, and what each makes ready. */
  runUntil(untilMs: number): Promise<void>;
  wake(life: Life): void;
  /** Number of events that ran. */
  readonly events: number;
}

export function createKernel(): Kernel {
  const heap: Event[] = [];
  let nowMs = 0;
  let order = 0;
  let events = 0;

  const before = (a: Event, b: Event): boolean => a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);

  function push(event: Event): void {
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(event, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  function pop(): Event {
    const first = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child += 1;
      if (!before(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first;
  }

  return {
    get nowMs() {
      return nowMs;
    },
    get events() {
      return events;
    },
    after(ms, life, fn) {
      if (Number.isNaN(ms)) throw new RangeError("event delay must be a number of milliseconds, got NaN");
      if (ms === Number.POSITIVE_INFINITY || life?.alive === false) return () => {};
      order += 1;
      const event: Event = { dueMs: nowMs + Math.max(0, Math.ceil(ms)), order, life, run: fn };
      push(event);
      return () => {
        event.run = undefined;
      };
    },
    async runUntil(untilMs) {
      while (heap.length > 0 && heap[0]!.dueMs <= untilMs) {
        const event = pop();
        if (event.run === undefined || event.life?.alive === false) continue;
        if (event.life?.paused) {
          event.life.held.push(event);
          continue;
        }
        nowMs = event.dueMs;
        events += 1;
        event.run();
        await nextTurn();
      }
      nowMs = Math.max(nowMs, untilMs);
    },
    wake(life) {
      life.paused = false;
      for (const event of life.held.splice(0)) {
        order += 1;
        event.dueMs = nowMs;
        event.order = order;
        push(event);
      }
    },
  };
}

/** The clock of one process: a monotonic clock that starts with the process, and a wall clock that may be wrong or be set. */
export function clockOf(kernel: Kernel, life: Life): Clock {
  const setTimer: Clock["setTimer"] = (ms, fn) => kernel.after(ms, life, fn);
  return {
    now: () => START_MS + kernel.nowMs + life.wallOffsetMs(),
    monotonicMs: () => kernel.nowMs - life.bornMs,
    setTimer,
    sleep: (ms, signal) => sleepWith(setTimer, ms, signal),
  };
}

/** The broker's clock, which is authoritative. */
export function brokerClock(kernel: Kernel): Clock {
  const setTimer: Clock["setTimer"] = (ms, fn) => kernel.after(ms, undefined, fn);
  return {
    now: () => START_MS + kernel.nowMs,
    monotonicMs: () => kernel.nowMs,
    setTimer,
    sleep: (ms, signal) => sleepWith(setTimer, ms, signal),
  };
}
