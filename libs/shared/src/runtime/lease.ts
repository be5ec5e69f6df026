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
import type { Bucket, Bus } from "../bus/bus.ts";
import type { Clock } from "./clock.ts";
import { faultCode, isRetryable, retryable } from "./faults.ts";

export const LEASE_FREE_MS = 4_000;
export const LEASE_RENEW_MS = 1_000;
/** A leader that has not renewed for this long must not perform: another may have taken over. */
export const LEASE_TRUST_MS = 3_000;
const LOOK_EVERY_MS = 200;
/** A leader that stops does not wait longer than this for a broker that may be away. */
const RELEASE_WITHIN_MS = 1_000;

export interface Lease {
  /** May this process perform effects now? */
  held(): boolean;
  /** Aborts when the lease is lost. */
  readonly lost: AbortSignal;
  release(): Promise<void>;
}

/**
 * Asked again before a write that something was waited for since the lease was last asked: whoever is stopped in between may find
 * another leader when it goes on.
 * @throws Retryable `not_leading`
 */
export function mustStillLead(allowed: () => boolean, doing: string): void {
  if (!allowed()) throw retryable("not_leading", `${doing}: the lease was lost meanwhile`);
}

export interface LeaseRequest {
  readonly bus: Bus;
  /** Key in the bucket `lease`. */
  readonly key: string;
  /** Identifies this process; a holder that finds its own name takes over at once. */
  readonly holder: string;
  readonly clock: Clock;
  /** How long another holder's revision must stand still, on this process's own clock, before the lease is free. */
  readonly freeAfterMs?: number;
  readonly signal: AbortSignal;
  /** Called whenever another holder's lease was read: from the first time on this process measures how long it has not moved. */
  readonly onStandby?: () => void;
}

/**
 * Resolves once this process holds the lease; retries while the broker is away.
 * @throws the signal's reason when it aborts; a Terminal fault
 */
export async function acquireLease(request: LeaseRequest): Promise<Lease> {
  const { clock, signal } = request;
  const seen = { revision: -1, unmovedSinceMs: clock.monotonicMs() };
  for (;;) {
    signal.throwIfAborted();
    try {
      const lease = await tryToAcquire(request, seen);
      if (lease !== undefined) return lease;
      request.onStandby?.();
      await clock.sleep(LOOK_EVERY_MS, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!isRetryable(error)) throw error;
      await clock.sleep(LEASE_RENEW_MS, signal);
    }
  }
}

async function tryToAcquire(
  { bus, key, holder, clock, freeAfterMs = LEASE_FREE_MS }: LeaseRequest,
  seen: { revision: number; unmovedSinceMs: number },
): Promise<Lease | undefined> {
  const bucket = await bus.bucket("lease");
  const entry = await bucket.get(key);
  const revision = entry?.revision ?? 0;
  if (revision !== seen.revision) {
    seen.revision = revision;
    seen.unmovedSinceMs = clock.monotonicMs();
  }
  const present = entry === undefined ? "" : holderOf(entry.value);
  const free = present === "" || present === holder || clock.monotonicMs() - seen.unmovedSinceMs >= freeAfterMs;
  if (!free) return undefined;
  const startedAtMs = clock.monotonicMs();
  const taken = await write(bucket, key, holder, revision, clock);
  return taken === undefined ? undefined : keep(bucket, key, holder, { revision: taken, atMs: startedAtMs }, clock);
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

function keep(
  bucket: Bucket,
  key: string,
  holder: string,
  first: { readonly revision: number; readonly atMs: number },
  clock: Clock,
): Lease {
  const lost = new AbortController();
  let revision = first.revision;
  let renewedAtMs = first.atMs;
  let stopped = false;
  let cancel = (): void => {};
  let renewing: Promise<void> = Promise.resolve();
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
    if (!stopped && !lost.signal.aborted) renewLater();
  };
  const renewLater = (): void => {
    cancel = clock.setTimer(LEASE_RENEW_MS, () => {
      renewing = renew();
    });
  };
  const free = async (): Promise<void> => {
    await renewing;
    // An empty holder tells the next one that it need not wait.
    if (!lost.signal.aborted) await write(bucket, key, "", revision, clock).catch(() => undefined);
  };
  renewLater();
  return {
    held: () => !stopped && !lost.signal.aborted && clock.monotonicMs() - renewedAtMs < LEASE_TRUST_MS,
    lost: lost.signal,
    release: async () => {
      stopped = true;
      cancel();
      const late = new AbortController();
      await Promise.race([free(), clock.sleep(RELEASE_WITHIN_MS, late.signal).catch(() => undefined)]);
      late.abort();
    },
  };
}
