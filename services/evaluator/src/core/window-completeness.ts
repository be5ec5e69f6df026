/**
 * Whether a window is complete: for every expected gateway no signal is missing and its merged traffic covers at least 90% of
 * the window, and of each slice at most 5% of the requests were excluded.
 */
import { reasonText } from "@aviary/shared/contract/reasons.ts";
import type { Slice } from "@aviary/shared/contract/run.ts";
import { EXCLUSIONS } from "@aviary/shared/contract/window.ts";
import { coveredRatio } from "./covered-time.ts";
import type { GatewayState } from "./gateway.ts";
import {
  excludedSum,
  type GatewayAccount,
  type RequestAccount,
  requestsOfSlice,
  type SliceRequests,
  type TrafficKind,
} from "./request-account.ts";
import { missingIn } from "./sequence.ts";

/** The part of a window that each gateway's merged traffic must cover, a ratio. */
export const REQUIRED_COVERAGE = 0.9;
/** The part of a slice's requests that may be excluded, a ratio. */
export const MAX_EXCLUDED = 0.05;

export interface WindowEvidence {
  /** Expected gateways, in file order, without those in maintenance. */
  readonly gateways: readonly GatewayState[];
  /** By gateway key, those in maintenance included. */
  readonly accounts: ReadonlyMap<string, GatewayAccount>;
  /** The selected traffic. */
  readonly kinds: readonly TrafficKind[];
  readonly startMs: number;
  readonly endMs: number;
  /** The end of the run's warm-up, from which traffic of the canary slice is judged. */
  readonly judgedFromMs: number;
}

export interface Completeness {
  /** Why the window is incomplete, one line per cause; empty if it is complete. */
  readonly gaps: readonly string[];
  /** Whether it is incomplete only because of the run's warm-up. */
  readonly isWarmUp: boolean;
}

export function completenessOf(evidence: WindowEvidence): Completeness {
  const gaps = gapsOf(evidence, false);
  if (gaps.length === 0) return { gaps, isWarmUp: false };
  return { gaps, isWarmUp: gapsOf(evidence, true).length === 0 };
}

/** @param skipsWarmUp judges the rest of the window, as if it began with the end of the run's warm-up */
function gapsOf(evidence: WindowEvidence, skipsWarmUp: boolean): string[] {
  const gaps = evidence.gateways.flatMap((gateway) => gatewayGap(evidence, gateway, skipsWarmUp));
  for (const slice of ["canary", "stable"] as const) gaps.push(...excludedGap(evidence, slice, skipsWarmUp));
  return gaps.map(reasonText);
}

function gatewayGap(
  { accounts, kinds, startMs, endMs, judgedFromMs }: WindowEvidence,
  gateway: GatewayState,
  skipsWarmUp: boolean,
): string[] {
  const name = `${gateway.name} (${gateway.az})`;
  const missing = missingIn(gateway.sequence, startMs, endMs);
  if (missing !== undefined) return [`${name}: ${missing}`];
  const fromMs = skipsWarmUp && gateway.slice === "canary" ? Math.max(startMs, judgedFromMs) : startMs;
  for (const kind of kinds) {
    const account = accounts.get(gateway.key)?.[kind];
    const ratio =
      account === undefined ? 0 : coveredRatio(account.covered, fromMs, endMs, gateway.seen.get(kind)?.cadenceMs ?? 0);
    if (ratio < REQUIRED_COVERAGE) return [`${name}: ${coverageText(kind, ratio, account)}`];
  }
  return [];
}

function coverageText(kind: TrafficKind, ratio: number, account: RequestAccount | undefined): string {
  const reports = kind === "http" ? "traffic reports" : "synthetic reports";
  const covers = ratio === 0 ? `no ${reports} count` : `its ${reports} cover ${Math.floor(ratio * 100)}% of the window`;
  const why = account === undefined ? undefined : EXCLUSIONS.find((code) => account.excluded[code] !== undefined);
  return why === undefined ? covers : `${covers} (${why})`;
}

function excludedGap({ accounts, kinds }: WindowEvidence, slice: Slice, skipsWarmUp: boolean): string[] {
  const requests = requestsOfSlice(accounts.values(), slice, kinds);
  const planned = skipsWarmUp ? requests.plannedWarming : 0;
  const excluded = excludedSum(requests) - planned;
  const seen = requests.merged + excluded;
  if (excluded <= MAX_EXCLUDED * seen) return [];
  return [`${slice}: ${excluded} of ${seen} requests are excluded (${namedExclusions(requests, planned)})`];
}

function namedExclusions({ excluded }: SliceRequests, planned: number): string {
  const counts = EXCLUSIONS.map((why) => ({ why, count: (excluded[why] ?? 0) - (why === "warming" ? planned : 0) }));
  return counts
    .filter(({ count }) => count > 0)
    .map(({ why, count }) => `${why} ${count}`)
    .join(", ");
}
