/**
 * The leader's lease: one key whose revision moves while its holder lives.
 *
 *   standby ──key absent, or its revision has not moved for 4 s on this observer's own clock──▶ leader
 *   leader  ──renews every second by compare-and-set──▶ leader
 *   leader  ──somebody else wrote the key, or no renewal for 3 s──▶ standby: performs nothing from then on
 *
 * No clocks are compared between machines, and no server feature (TTL) is needed. A leader that was stopped and wakes up sees its own
 * clock first: its last renewal is too old, so it performs nothing before it has renewed.
 */
import type { Bucket, Bus } from "@aviary/shared/bus/bus.ts";
import type { Clock } from "@aviary/shared/shell/clock.ts";
import { faultCode } from "@aviary/shared/shell/faults.ts";

export const LEASE_FREE_MS = 4_000;
export const LEASE_RENEW_MS = 1_000;
/** A leader that has not renewed for this long must not perform: another may have taken over. */
export const LEASE_TRUST_MS = 3_000;

export interface Lease {
  /** May this process perform effects now? */
  held(): boolean;
  /** Aborts when the lease is lost. */
  readonly lost: AbortSignal;
  release(): Promise<void>;
}

/** Waits until this process is the leader. @throws the signal's reason when it aborts. */
export async function acquireLease(bus: Bus, key: string, holder: string, clock: Clock, signal: AbortSignal): Promise<Lease> {
  const bucket = await bus.bucket("lease");
  let lastRevision = -1;
  let unmovedSinceMs = clock.monotonicMs();
  for (;;) {
    signal.throwIfAborted();
    const entry = await bucket.get(key);
    const revision = entry?.revision ?? 0;
    if (revision !== lastRevision) {
      lastRevision = revision;
      unmovedSinceMs = clock.monotonicMs();
    }
    const own = entry !== undefined && holderOf(entry.value) === holder;
    const free =
      entry === undefined || own || holderOf(entry.value) === "" || clock.monotonicMs() - unmovedSinceMs >= LEASE_FREE_MS;
    if (free) {
      const taken = await write(bucket, key, holder, revision, clock);
      if (taken !== undefined) return keep(bucket, key, holder, taken, clock);
    }
    await clock.sleep(200, signal);
  }
}

const leaseText = (holder: string, clock: Clock): string => JSON.stringify({ holder, at: new Date(clock.now()).toISOString() });

function holderOf(value: Uint8Array): string {
  try {
    return String((JSON.parse(Buffer.from(value).toString()) as { holder?: unknown }).holder ?? "");
  } catch {
    return "";
  }
}

async function write(bucket: Bucket, key: string, holder: string, revision: number, clock: Clock): Promise<number | undefined> {
  try {
    return await bucket.update(key, leaseText(holder, clock), revision);
  } catch (error) {
    if (faultCode(error) === "conflict") return undefined;
    throw error;
  }
}

function keep(bucket: Bucket, key: string, holder: string, firstRevision: number, clock: Clock): Lease {
  const lost = new AbortController();
  let revision = firstRevision;
  let renewedAtMs = clock.monotonicMs();
  let stopped = false;
  let cancel = (): void => {};
  const renew = async (): Promise<void> => {
    const startedAtMs = clock.monotonicMs();
    try {
      const next = await write(bucket, key, holder, revision, clock);
      if (next === undefined) return lost.abort(new Error("another evaluator holds the lease"));
      revision = next;
      renewedAtMs = startedAtMs;
    } catch {
      // The broker is away: nothing can be performed now anyway, and `held` tells. The next renewal decides.
    }
    if (!stopped && !lost.signal.aborted) cancel = clock.setTimer(LEASE_RENEW_MS, () => void renew());
  };
  cancel = clock.setTimer(LEASE_RENEW_MS, () => void renew());
  return {
    held: () => !stopped && !lost.signal.aborted && clock.monotonicMs() - renewedAtMs < LEASE_TRUST_MS,
    lost: lost.signal,
    release: async () => {
      stopped = true;
      cancel();
      // An empty holder tells the next one that it need not wait.
      if (!lost.signal.aborted) await write(bucket, key, "", revision, clock).catch(() => undefined);
    },
  };
}
