/**
 * The shim's read model: the last verdict of every canary, the last record of every lane, and when the evaluator last renewed
 * its lease. It subscribes to the bus and is read from memory. Serialized answers are cached for as long as their verdict.
 */
import type { BucketEntry, Bus, StoredMessage } from "@aviary/shared/bus/bus.ts";
import { type CanaryEntry, canariesOf, type FleetFile } from "@aviary/shared/contract/fleet.ts";
import { isoTime } from "@aviary/shared/contract/iso-time.ts";
import { type LaneRecord, parseLaneRecord } from "@aviary/shared/contract/lane.ts";
import { EVALUATOR_LEASE_KEY } from "@aviary/shared/contract/lease.ts";
import type { Policy } from "@aviary/shared/contract/policy.ts";
import { type CanaryRef, canaryKey, parseVerdictSubject, subjectFilters } from "@aviary/shared/contract/subjects.ts";
import {
  isFromTheFuture,
  parseVerdictRecord,
  type VerdictBody,
  type VerdictRecord,
  validUntilMs,
} from "@aviary/shared/contract/verdict.ts";
import { aborted } from "@aviary/shared/runtime/abort.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import { faultCode } from "@aviary/shared/runtime/faults.ts";
import { parseJsonBytes } from "@aviary/shared/runtime/json.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import { LIMITS } from "./limits.ts";
import { type PreparedAnswer, prepare } from "./response/prepared-answer.ts";
import { absentAnswer, currentAnswer, unavailability } from "./response/verdict-answer.ts";

export interface Canary {
  readonly ref: CanaryRef;
  readonly key: string;
  readonly entry: CanaryEntry;
  readonly policy: Policy | undefined;
}

export interface View extends AsyncDisposable {
  /** True once everything that was stored at the start has been read; never false again. */
  readonly isCaughtUp: boolean;
  readonly canaries: ReadonlyMap<string, Canary>;
  /** The answer of a configured canary as of now. */
  prepared(canary: Canary): PreparedAnswer;
  record(key: string): VerdictRecord | undefined;
  /** When the run of the last verdict opened, milliseconds since the epoch. */
  runSinceMs(key: string): number | undefined;
  lane(name: string): LaneRecord | undefined;
  /** Milliseconds since the lease was last renewed; infinite before one has been read. */
  leaseAgeMs(): number;
  /** Number of unreadable records since the start. */
  readonly unreadable: number;
  /** Subscribes to the keys of canaries whose verdict changed; returns the unsubscribe function. */
  onVerdict(listener: (key: string) => void): () => void;
}

export interface ViewOptions {
  readonly bus: Bus;
  readonly fleet: FleetFile;
  readonly policies: ReadonlyMap<string, Policy>;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface CachedVerdict {
  readonly record: VerdictRecord;
  readonly validUntilMs: number;
  readonly sinceMs: number | undefined;
  readonly fresh: PreparedAnswer;
  /** Replacements by cause; a stored verdict has at most three. */
  readonly stale: Map<string, PreparedAnswer>;
}

/**
 * Subscribes to the bus, and resubscribes when a subscription ends. Resolves after the first attempt, successful or not, and
 * before everything is read: the shim answers hold from the start.
 */
export async function followView({ bus, fleet, policies, clock, logger }: ViewOptions): Promise<View> {
  const canaries = new Map<string, Canary>();
  for (const ref of canariesOf(fleet)) {
    const key = canaryKey(ref);
    canaries.set(key, { ref, key, entry: fleet.canaries[key]!, policy: policies.get(key) });
  }
  const held = new Map<string, CachedVerdict>();
  const lanes = new Map<string, LaneRecord>();
  const listeners = new Set<(key: string) => void>();
  const state = { ready: false, unreadable: 0, leaseAtMs: Number.NEGATIVE_INFINITY, leaseRevision: 0 };

  const reportUnreadable = (what: string, reason: string): void => {
    state.unreadable += 1;
    logger.warn(
      { event: "record.unreadable", record: what, reason: reason.slice(0, 300) },
      "unreadable record; keeping the previous one",
    );
  };
  const onVerdict = ({ subject, data, storedAtMs }: StoredMessage): void => {
    const ref = parseVerdictSubject(subject);
    const key = ref === undefined ? undefined : canaryKey(ref);
    if (key === undefined || !canaries.has(key)) return;
    const parsed = parseVerdictRecord(parseJsonBytes(data));
    if (!parsed.success) {
      reportUnreadable(subject, parsed.error.message);
      return;
    }
    const payloadKey = canaryKey(parsed.data.body.subject);
    if (payloadKey !== key) {
      reportUnreadable(subject, `the payload is about ${payloadKey}`);
      return;
    }
    const { body } = parsed.data;
    if (isFromTheFuture(body, storedAtMs)) {
      reportUnreadable(subject, `its time ${body.at} is after ${isoTime(storedAtMs)}, when it was stored`);
      return;
    }
    held.set(key, {
      record: parsed.data,
      validUntilMs: believedUntilMs(body, policies.get(key)),
      sinceMs: body.run === null ? undefined : Date.parse(body.run.since),
      fresh: prepare(currentAnswer(body, undefined)),
      stale: new Map(),
    });
    for (const listener of listeners) listener(key);
  };

  const onLane = (key: string, entry: BucketEntry | undefined): void => {
    if (entry === undefined) lanes.delete(key);
    if (entry === undefined || fleet.lanes[key] === undefined) return;
    const parsed = parseLaneRecord(parseJsonBytes(entry.value));
    if (parsed.success && parsed.data.lane === key) lanes.set(key, parsed.data);
    else reportUnreadable(`lane ${key}`, parsed.success ? `the record is about ${parsed.data.lane}` : parsed.error.message);
  };
  const onLease = (key: string, entry: BucketEntry | undefined): void => {
    if (key !== EVALUATOR_LEASE_KEY || entry === undefined || entry.revision === state.leaseRevision) return;
    // The first lease that is read may be a stopped evaluator's, so its stored age counts; later ones have just been renewed.
    const ageMs = state.leaseRevision === 0 ? Math.max(0, clock.now() - entry.storedAtMs) : 0;
    state.leaseRevision = entry.revision;
    state.leaseAtMs = clock.monotonicMs() - ageMs;
  };

  /** Makes one attempt; resolves once subscribed, with the promise of the end and the way to stop. */
  const subscribe = async (): Promise<Subscription> => {
    const ended = Promise.withResolvers<Error | undefined>();
    const open: { stop(): Promise<void> }[] = [];
    state.leaseRevision = 0;
    const stop = async (): Promise<void> => void (await Promise.all(open.map((each) => each.stop())));
    try {
      const follower = await bus.follow({
        stream: "VERDICTS",
        subjects: [subjectFilters.verdicts],
        from: "last-per-subject",
        onMessage: onVerdict,
        onEnd: ended.resolve,
      });
      open.push(follower);
      const laneWatch = await (await bus.bucket("lane")).watch(onLane);
      open.push(laneWatch);
      const leaseWatch = await (await bus.bucket("lease")).watch(onLease);
      open.push(leaseWatch);
      Promise.all([follower.caughtUp, laneWatch.ready, leaseWatch.ready]).then(
        () => {
          state.ready = true;
        },
        (error: unknown) => ended.resolve(error as Error),
      );
      return { ended: ended.promise, stop };
    } catch (error) {
      await stop();
      throw error;
    }
  };
  const subscription = await keepSubscribed(subscribe, clock, logger);
  const leaseAgeMs = (): number => clock.monotonicMs() - state.leaseAtMs;
  return {
    get isCaughtUp() {
      return state.ready;
    },
    get unreadable() {
      return state.unreadable;
    },
    canaries,
    record: (key) => held.get(key)?.record,
    runSinceMs: (key) => held.get(key)?.sinceMs,
    lane: (name) => lanes.get(name),
    leaseAgeMs,
    prepared(canary) {
      const known = held.get(canary.key);
      const nowMs = clock.now();
      const cause = unavailability({
        validUntilMs: known?.validUntilMs,
        nowMs,
        leaseAgeMs: leaseAgeMs(),
        isCaughtUp: state.ready,
      });
      if (known === undefined) {
        const { policy, entry, ref } = canary;
        return prepare(absentAnswer({ ...ref, fleet: entry.fleet, ...cause!, nowMs, policy }));
      }
      if (cause === undefined) return known.fresh;
      const made = known.stale.get(cause.text) ?? prepare(currentAnswer(known.record.body, cause));
      known.stale.set(cause.text, made);
      return made;
    },
    onVerdict(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    async [Symbol.asyncDispose]() {
      await subscription.stop();
    },
  };
}

/** A verdict is never valid for longer than the policy allows, whatever it claims. */
function believedUntilMs(body: VerdictBody, policy: Policy | undefined): number {
  const claimedMs = Date.parse(body.valid_until);
  return policy === undefined ? claimedMs : Math.min(claimedMs, validUntilMs(Date.parse(body.at), policy));
}

interface Subscription {
  readonly ended: Promise<Error | undefined>;
  stop(): Promise<void>;
}

/** Subscribes, and resubscribes after every end until stopped. Resolves after the first attempt, successful or not. */
async function keepSubscribed(
  subscribe: () => Promise<Subscription>,
  clock: Clock,
  logger: Logger,
): Promise<{ stop(): Promise<void> }> {
  const stopping = new AbortController();
  const firstAttempt = Promise.withResolvers<void>();
  const run = async (): Promise<void> => {
    let lastCode: string | undefined;
    while (!stopping.signal.aborted) {
      try {
        const subscription = await subscribe();
        firstAttempt.resolve();
        lastCode = undefined;
        const error = await Promise.race([subscription.ended, aborted(stopping.signal)]);
        await subscription.stop();
        if (!stopping.signal.aborted) {
          logger.warn({ event: "subscription.ended", err: error }, "subscription ended; resubscribing");
        }
      } catch (error) {
        firstAttempt.resolve();
        const code = faultCode(error) ?? "unknown";
        // One line per cause, not one per attempt.
        if (code !== lastCode) {
          logger.warn(
            { event: "subscription.failed", err: error },
            "could not subscribe to the bus; retrying, answers are holds until then",
          );
        }
        lastCode = code;
      }
      await clock.sleep(LIMITS.resubscribeMs, stopping.signal).catch(() => undefined);
    }
  };
  const running = run();
  await firstAttempt.promise;
  return {
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}
