/**
 * When a perfect judge, given the true rates and the request counts, would have found a release bad. All damage is measured
 * against this, so it shares no rule with the product.
 */
import { CEILING, SLOW_CEILING } from "../world/plan.ts";
import type { ReleasePlan } from "../world/releases.ts";
import type { TrafficSample } from "../world/samples.ts";

/** A release is bad if it fails or slows down at least this multiple of the requests that the ceiling allows. */
const BAD_TIMES = 4;
/** Expected bad requests after which a likelihood ratio of four ceilings against a healthy release is beyond doubt (e^8 to 1). */
const KNOWN_AFTER_BAD = 10;
/** Expected bad requests that even a judge who only counts must detect: fewer than six occur in one of 14,000 cases (Poisson). */
const PROVEN_AFTER_BAD = 20;
const PROVEN_AFTER_WINDOWS = 2;

export interface Knowledge {
  /** When a perfect judge of all its traffic decides, milliseconds since the start; infinite if never. */
  readonly knownAtMs: number;
  /** When the canary slice has produced two windows of evidence and every judge must decide; infinite if never. */
  readonly provenAtMs: number;
}

/** Expected bad requests of a sample because of its release; 0 if it is not bad. */
function expectedBad(sample: TrafficSample): number {
  const failing = sample.errorRate >= BAD_TIMES * CEILING ? sample.errorRate : 0;
  const slow = sample.slowShare >= BAD_TIMES * SLOW_CEILING ? sample.slowShare : 0;
  return sample.requests * Math.max(failing, slow);
}

/** Computes when the traffic has revealed a bad release. */
export function knowledgeOf(traffic: readonly TrafficSample[], release: ReleasePlan, windowMs: number): Knowledge {
  let bad = 0;
  let badOnCanary = 0;
  let firstMs = Number.POSITIVE_INFINITY;
  let knownAtMs = Number.POSITIVE_INFINITY;
  for (const sample of traffic) {
    if (sample.release !== release) continue;
    const here = expectedBad(sample);
    if (here === 0) continue;
    bad += here;
    if (bad >= KNOWN_AFTER_BAD) knownAtMs = Math.min(knownAtMs, sample.atMs);
    if (sample.slice !== "canary") continue;
    firstMs = Math.min(firstMs, sample.atMs - sample.forMs);
    badOnCanary += here;
    const isLong = sample.atMs - firstMs >= PROVEN_AFTER_WINDOWS * windowMs;
    if (badOnCanary >= PROVEN_AFTER_BAD && isLong) return { knownAtMs, provenAtMs: sample.atMs };
  }
  return { knownAtMs, provenAtMs: Number.POSITIVE_INFINITY };
}

/** Requests of a sample that were bad because of its release. */
export function badBecauseOfRelease(sample: TrafficSample, baseRate: number, baseSlowShare: number): number {
  return sample.requests * (Math.max(0, sample.errorRate - baseRate) + Math.max(0, sample.slowShare - baseSlowShare));
}
