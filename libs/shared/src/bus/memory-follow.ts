/** Following a stream of the memory bus. Deliveries run in tasks passed to `defer`, in order. */
import { terminal } from "../runtime/faults.ts";
import type { Follower, FollowOptions } from "./bus.ts";
import type { MemoryMessage, MemoryStream } from "./memory-stream.ts";
import { matchesAny } from "./subject-match.ts";

export interface MemoryFollower extends Follower {
  /** Ends it from the outside, when the bus is closed. */
  end(error: Error | undefined): void;
}

/** Messages delivered per task, so that other tasks get their turn. */
const BATCH = 256;

/** Starts to follow. `defer` runs a task later, never within the call. */
export function followMemory(
  stream: MemoryStream,
  options: Omit<FollowOptions, "stream">,
  defer: (task: () => void) => void,
): MemoryFollower {
  const filters = options.subjects ?? [];
  const { lastSequence } = stream.state();
  /** "Last per subject" starts with these; the rest of the log follows. */
  const firsts = options.from === "last-per-subject" ? stream.lastPerSubject(filters) : [];
  let next = startOf(stream, options.from, lastSequence);
  let paused = false;
  let ended = false;
  let scheduled = false;
  let caughtUp = false;
  const caught = Promise.withResolvers<void>();

  function schedule(): void {
    if (scheduled || paused || ended) return;
    scheduled = true;
    defer(deliver);
  }

  function deliver(): void {
    scheduled = false;
    let delivered = 0;
    while (!paused && !ended && delivered < BATCH) {
      const message = takeNext();
      if (message === undefined) break;
      delivered += 1;
      try {
        options.onMessage(message);
      } catch (cause) {
        end(terminal("handler_threw", `the handler of ${stream.name} threw: ${(cause as Error).message}`, cause));
      }
    }
    if (ended || paused) return;
    if (!caughtUp && firsts.length === 0 && next > lastSequence) {
      caughtUp = true;
      caught.resolve();
    }
    if (delivered === BATCH) schedule();
  }

  function takeNext(): MemoryMessage | undefined {
    while (firsts.length > 0) {
      const message = stream.at(firsts.shift() as number);
      if (message !== undefined) return message;
    }
    const state = stream.state();
    next = Math.max(next, state.firstSequence, 1);
    while (next <= state.lastSequence) {
      const message = stream.at(next);
      next += 1;
      if (message !== undefined && matchesAny(filters, message.subject)) return message;
    }
    return undefined;
  }

  function end(error: Error | undefined): void {
    if (ended) return;
    ended = true;
    stopListening();
    caught.promise.catch(() => undefined);
    if (!caughtUp)
      caught.reject(error ?? terminal("follow_stopped", `following ${stream.name} was stopped before it had caught up`));
    options.onEnd?.(error);
  }

  const stopListening = stream.onAppend(schedule);
  schedule();
  return {
    caughtUp: caught.promise,
    pause() {
      paused = true;
    },
    resume() {
      paused = false;
      schedule();
    },
    stop: async () => end(undefined),
    end,
  };
}

function startOf(stream: MemoryStream, from: FollowOptions["from"], lastSequence: number): number {
  if (from === "all") return 1;
  if (from === "new" || from === "last-per-subject") return lastSequence + 1;
  if ("sequence" in from) return Math.max(from.sequence, 1);
  const { firstSequence } = stream.state();
  for (let sequence = Math.max(firstSequence, 1); sequence <= lastSequence; sequence += 1) {
    const message = stream.at(sequence);
    if (message !== undefined && message.storedAtMs >= from.time) return sequence;
  }
  return lastSequence + 1;
}
