/**
 * The leader's lease: one key whose revision changes while its owner is alive.
 *
 *   standby ──key absent, or its revision unchanged for 4 s on this observer's own clock──▶ leader
 *   leader  ──renews every second by compare-and-set──▶ leader
 *   leader  ──another process wrote the key, or no renewal for 3 s──▶ standby: performs no further effects
 *
 * Clocks of different machines are never compared, and no server feature (TTL) is needed. A leader that was suspended checks its
 * own clock first: its last renewal is too old, so it performs nothing before it has renewed.
 */
import type { Bucket, Bus } from "../bus/bus.ts";
import type { Clock } from "./clock.ts";
import { faultCode, isRetryable, retryable } from "./faults.ts";

export const LEASE_FREE_MS = 4_000;
export const LEASE_RENEW_MS = 1_000;
/** A leader that has not renewed for this long must not perform effects: another may have taken over. */
export const LEASE_TRUST_MS = 3_000;
const POLL_INTERVAL_MS = 200;
/** How long a stopping leader waits for a broker that may be unreachable. */
const RELEASE_TIMEOUT_MS = 1_000;

export interface Lease {
  /** Whether this process may perform effects now. */
  held(): boolean;
  /** Aborts when the lease is lost. */
  readonly lost: AbortSignal;
  release(): Promise<void>;
}

/**
 * Re-checks the lease before a write that follows an await: a process suspended in between may find another leader when it
 * resumes.
 * @throws Retryable `not_leading`
 */
export function mustStillLead(mayPerform: () => boolean, doing: string): void {
  if (!mayPerform()) throw retryable("not_leading", `${doing}: lost the lease`);
}

export interface LeaseRequest {
  readonly bus: Bus;
  /** Key in the bucket `lease`. */
  readonly key: string;
  /** Identifies this process. A process that finds its own name in the lease takes over immediately. */
  readonly holder: string;
  readonly clock: Clock;
  /** How long another owner's revision must stay unchanged, on this process's own clock, before the lease is free. */
  readonly freeAfterMs?: number;
  readonly signal: AbortSignal;
  /** Identifies this process's configuration; kept in the lease, so that the others can compare theirs. */
  readonly config?: string;
  /** Called whenever another owner's lease was read; the first call starts this process's measurement. */
  readonly onStandby?: (owner: LeaseOwner) => void;
}

/** Who holds a lease, and by which configuration it works. */
export interface LeaseOwner {
  /** Empty while the lease is free. */
  readonly holder: string;
  /** Undefined if the owner states none. */
  readonly config: string | undefined;
}

/**
 * Resolves once this process owns the lease; retries while the broker is unreachable.
 * @throws the signal's reason if it aborts; a Terminal fault
 */
export async function acquireLease(request: LeaseRequest): Promise<Lease> {
  const { clock, signal } = request;
  const seen = { revision: -1, unchangedSinceMs: clock.monotonicMs() };
  for (;;) {
    signal.throwIfAborted();
    try {
      const result = await tryToAcquire(request, seen);
      if ("lease" in result) return result.lease;
      request.onStandby?.(result.owner);
      await clock.sleep(POLL_INTERVAL_MS, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!isRetryable(error)) throw error;
      await clock.sleep(LEASE_RENEW_MS, signal);
    }
  }
}

async function tryToAcquire(
  request: LeaseRequest,
  seen: { revision: number; unchangedSinceMs: number },
): Promise<{ readonly lease: Lease } | { readonly owner: LeaseOwner }> {
  const { bus, key, holder, clock, freeAfterMs = LEASE_FREE_MS } = request;
  const bucket = await bus.bucket("lease");
  const entry = await bucket.get(key);
  const revision = entry?.revision ?? 0;
  if (revision !== seen.revision) {
    seen.revision = revision;
    seen.unchangedSinceMs = clock.monotonicMs();
  }
  const owner = entry === undefined ? NO_OWNER : ownerOf(entry.value);
  const free = owner.holder === "" || owner.holder === holder || clock.monotonicMs() - seen.unchangedSinceMs >= freeAfterMs;
  if (!free) return { owner };
  const startedAtMs = clock.monotonicMs();
  const claim: Claim = { bucket, key, owner: { holder, config: request.config }, clock };
  const taken = await write(claim, revision);
  return taken === undefined ? { owner } : { lease: keep(claim, { revision: taken, atMs: startedAtMs }) };
}

const NO_OWNER: LeaseOwner = { holder: "", config: undefined };

function ownerOf(value: Uint8Array): LeaseOwner {
  try {
    const { holder, config } = JSON.parse(Buffer.from(value).toString()) as { holder?: unknown; config?: unknown };
    return { holder: String(holder ?? ""), config: typeof config === "string" ? config : undefined };
  } catch {
    return NO_OWNER;
  }
}

/** What this process writes, and where. */
interface Claim {
  readonly bucket: Bucket;
  readonly key: string;
  readonly owner: LeaseOwner;
  readonly clock: Clock;
}

async function write({ bucket, key, owner, clock }: Claim, revision: number): Promise<number | undefined> {
  const text = JSON.stringify({ ...owner, at: new Date(clock.now()).toISOString() });
  try {
    return await bucket.update(key, text, revision);
  } catch (error) {
    if (faultCode(error) === "conflict") return undefined;
    throw error;
  }
}

function keep(claim: Claim, first: { readonly revision: number; readonly atMs: number }): Lease {
  const { clock } = claim;
  const lost = new AbortController();
  let revision = first.revision;
  let renewedAtMs = first.atMs;
  let stopped = false;
  let cancel = (): void => {};
  let renewing: Promise<void> = Promise.resolve();
  const renew = async (): Promise<void> => {
    const startedAtMs = clock.monotonicMs();
    try {
      const next = await write(claim, revision);
      if (next === undefined) return lost.abort(new Error("another process holds the lease"));
      revision = next;
      renewedAtMs = startedAtMs;
    } catch {
      // The broker is unreachable: no effect can be performed now, and `held` reports it. The next renewal decides.
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
    // An empty owner lets the next process take over without waiting.
    if (!lost.signal.aborted) await write({ ...claim, owner: NO_OWNER }, revision).catch(() => undefined);
  };
  renewLater();
  return {
    held: () => !stopped && !lost.signal.aborted && clock.monotonicMs() - renewedAtMs < LEASE_TRUST_MS,
    lost: lost.signal,
    release: async () => {
      stopped = true;
      cancel();
      const timer = new AbortController();
      await Promise.race([free(), clock.sleep(RELEASE_TIMEOUT_MS, timer.signal).catch(() => undefined)]);
      timer.abort();
    },
  };
}
