/**
 * Invariant 4: absence, NaN, staleness, skew or a gap is never a pass. Every published pass is compared with what the collectors
 * produced and what the broker had stored by then.
 */

import { HTTP_PERIOD_MS } from "../gateway.ts";
import type { Emitted } from "../history.ts";
import { START_MS } from "../kernel.ts";
import type { Case, InvariantCheck, PublishedBody } from "./check.ts";
import { seconds } from "./check.ts";

export interface Arrived extends Emitted {
  readonly storedAtMs: number;
  readonly sequence: number;
}

export const TOO_FAR_AHEAD_MS = 5_000;
const YELLOW = 0.78;
/** A pass requires 90%. The margin is for tenths of a second that a signal covers only partly. */
const LEAST_KNOWN = 0.85;

export const absenceIsNeverPass: InvariantCheck = (checked) => {
  const arrived = arrivedSignals(checked);
  for (const { body } of checked.verdicts) {
    if (body.verdict !== "pass") continue;
    const what = whyNot(checked, body, arrived);
    if (what !== undefined) {
      const atMs = Date.parse(body.at) - START_MS;
      return { invariant: "4", what: `the verdict ${body.id} of ${seconds(atMs)} is a pass, and ${what}`, atMs };
    }
  }
  return undefined;
};

/** Signals in log order, each once, with their store times. */
export function arrivedSignals({ finished }: Case): Arrived[] {
  const { stored, emitted } = finished.history;
  const seen = new Set<string>();
  const arrived: Arrived[] = [];
  for (const { stream, data, atMs, sequence } of stored) {
    if (stream !== "INPUTS") continue;
    const id = /^\{"v":1,"id":"([^"]+)"/.exec(data)?.[1];
    const made = id === undefined ? undefined : emitted.get(id);
    if (made === undefined || seen.has(id!)) continue;
    seen.add(id!);
    arrived.push({ ...made, storedAtMs: atMs, sequence });
  }
  return arrived;
}

function whyNot({ finished }: Case, body: PublishedBody, all: readonly Arrived[]): string | undefined {
  const { plan, policy, history } = finished;
  const atMs = Date.parse(body.at);
  const { window, run } = body;
  // The verdict that ends a run by enough passed windows already has that state.
  if (run === null || (run.state !== "active" && run.state !== "passed")) return `its run is ${run?.state ?? "none"}`;
  if (window === null) return "it is based on no window";
  const figures = [body.canary["5xx_rate"], body.canary.p99_ms];
  if (figures.some((figure) => typeof figure !== "number" || !Number.isFinite(figure)))
    return "a figure of the canary is missing";
  const startMs = Date.parse(window.start);
  const endMs = Date.parse(window.end);
  const closedMs = endMs + policy.graceMs;
  if (atMs < closedMs) return `its window does not close before ${seconds(closedMs - START_MS)}`;

  const releases = new Map<string, Set<string>>();
  let canaryRequests = 0;
  for (const gateway of plan.gateways) {
    const mine = all.filter((signal) => signal.gateway === gateway.name && signal.storedAtMs <= atMs);
    if (mine.length === 0) return `${gateway.name} has never reported`;
    // Messages stored in the very millisecond of the verdict may have been stored after it.
    if (isAhead(mine) && isAhead(mine.filter(({ storedAtMs }) => storedAtMs < atMs)))
      return `the clock of ${gateway.name} is ahead`;
    const usable = mine.filter(({ observedAtMs, storedAtMs }) => observedAtMs - storedAtMs <= TOO_FAR_AHEAD_MS);
    for (const kind of ["health", "http", "disk", "skills"] as const) {
      const newest = newestOf(usable, kind);
      if (newest === undefined) return `${gateway.name} has never sent ${kind}`;
      if (atMs >= newest.observedAtMs + 2 * newest.signal.period_ms + policy.graceMs)
        return `the newest ${kind} signal of ${gateway.name} is of ${seconds(newest.observedAtMs - START_MS)}`;
      if (kind === "health" && (newest.signal as { body: { state: string } }).body.state !== "up")
        return `${gateway.name} is down`;
      if (kind === "disk" && (newest.signal as { body: { used_ratio: number } }).body.used_ratio >= YELLOW)
        return `the disk of ${gateway.name} is yellow`;
    }
    const gap = gapOf(gateway.name, all, history.emitted, { startMs, endMs, closedMs });
    if (gap !== undefined) return gap;
    const known = knownShare(usable, startMs, endMs, closedMs);
    if (known < LEAST_KNOWN) return `what ${gateway.name} served is known for ${Math.round(known * 100)}% of its window`;
    const hash = newestHash(usable);
    const hashes = releases.get(gateway.slice) ?? new Set<string>();
    if (hash !== undefined) hashes.add(hash);
    releases.set(gateway.slice, hashes);
    for (const { signal, observedAtMs, storedAtMs } of mine) {
      if (signal.kind !== "http" || observedAtMs < startMs || observedAtMs >= endMs || storedAtMs > closedMs) continue;
      if (gateway.slice === "canary") canaryRequests += signal.body.requests;
    }
  }
  for (const [slice, hashes] of releases) if (hashes.size > 1) return `the ${slice} gateways run different packs`;
  if (body.canary.requests === 0 || canaryRequests === 0) return "there was no request in its window";
  if (body.canary.requests > canaryRequests)
    return `it counts ${body.canary.requests} requests where ${canaryRequests} were reported`;
  return undefined;
}

/**
 * The share of a window for which the traffic of one gateway is known, by tenths of a second. A gateway in its warm-up serves
 * traffic that is not judged. The last period of a window is reported after its end.
 */
function knownShare(signals: readonly Arrived[], startMs: number, endMs: number, closedMs: number): number {
  const known = new Set<number>();
  let isWarm = true;
  for (const { signal, observedAtMs, storedAtMs } of signals) {
    if (storedAtMs > closedMs) break;
    if (signal.kind === "health") isWarm = signal.body.warm;
    if (signal.kind !== "http" || !isWarm || observedAtMs >= endMs) continue;
    const fromMs = Math.max(startMs, observedAtMs - signal.period_ms);
    for (let ms = fromMs; ms < observedAtMs; ms += 100) known.add(Math.floor((ms - startMs) / 100));
  }
  const last = Math.max(0, ...known);
  const total = Math.floor((endMs - startMs) / 100);
  for (let tenth = last; tenth < total && tenth <= last + HTTP_PERIOD_MS / 100; tenth++) known.add(tenth);
  return known.size / total;
}

/** Whether the newest signal of the collector, among those stored, was from the future. */
function isAhead(signals: readonly Arrived[]): boolean {
  const last = signals.reduce<Arrived | undefined>(
    (a, b) => (a === undefined || b.madeAtMs > a.madeAtMs || (b.madeAtMs === a.madeAtMs && b.signal.seq > a.signal.seq) ? b : a),
    undefined,
  );
  return last !== undefined && last.observedAtMs - last.storedAtMs > TOO_FAR_AHEAD_MS;
}

/** The pack of the newest observation, whatever its kind and whenever it arrived; undefined if one instant has two. */
function newestHash(usable: readonly Arrived[]): string | undefined {
  const newestMs = Math.max(...usable.map(({ observedAtMs }) => observedAtMs));
  const hashes = new Set(
    usable.filter(({ observedAtMs }) => observedAtMs === newestMs).map(({ signal }) => String(signal.skill_hash)),
  );
  return hashes.size === 1 ? [...hashes][0] : undefined;
}

function newestOf(signals: readonly Arrived[], kind: string): Arrived | undefined {
  let newest: Arrived | undefined;
  for (const signal of signals)
    if (signal.signal.kind === kind && (newest === undefined || signal.observedAtMs >= newest.observedAtMs)) newest = signal;
  return newest;
}

/**
 * Why the evidence of one gateway is incomplete in a window: a signal was missing when the window closed, or the collector
 * restarted.
 */
function gapOf(
  gateway: string,
  all: readonly Arrived[],
  emitted: ReadonlyMap<string, Emitted>,
  { startMs, endMs, closedMs }: { readonly startMs: number; readonly endMs: number; readonly closedMs: number },
): string | undefined {
  const inTime = new Set<string>();
  const boots = new Set<string>();
  for (const { signal, observedAtMs, storedAtMs, gateway: from } of all) {
    if (from !== gateway || storedAtMs > closedMs) continue;
    inTime.add(signal.id);
    if (observedAtMs >= startMs && observedAtMs < endMs) boots.add(signal.collector_boot);
  }
  if (boots.size > 1) return `the collector of ${gateway} restarted within its window`;
  for (const { signal, observedAtMs, madeAtMs, gateway: from } of emitted.values()) {
    if (from !== gateway || observedAtMs < startMs || inTime.has(signal.id)) continue;
    // Made after the window: a clock that was set back shows otherwise, which cannot be awaited.
    if (START_MS + madeAtMs >= endMs) continue;
    // The last two periods of traffic may still be missing: they belong to the start of the next window.
    if (observedAtMs < endMs - 2 * 2_000)
      return `signal ${signal.seq} (${signal.kind} of ${seconds(observedAtMs - START_MS)}) of ${gateway} was missing when its window closed`;
  }
  return undefined;
}
