/**
 * Reads the judge's reference: what `learn-reference.ts` estimated from healthy traffic before a run, frozen at its start. It is
 * stored in the verdict record as plain numbers: `errors.rho`, `errors.phi`, ... for the whole slice, `<az>/errors.rho`, ... for
 * each AZ.
 */
import type { Reference } from "@aviary/shared/contract/verdict.ts";
import type { QuantileCounts } from "./drift.ts";
import type { Noise } from "./noise.ts";
import { defaultNoise } from "./noise.ts";
import type { Margin, TailName, Threshold } from "./regression-limits.ts";
import { TAIL_NAMES, TAILS } from "./regression-limits.ts";
import type { SeriesName } from "./rule.ts";
import { WHOLE } from "./rule.ts";

/** The name of a figure. */
export function figureName(scope: string, series: SeriesName, figure: string): string {
  return scope === WHOLE ? `${series}.${figure}` : `${scope}/${series}.${figure}`;
}

/** The noise for a scope: that of its own AZ, otherwise that of the whole slice, otherwise the default. */
export function referenceNoise(
  reference: Reference | null,
  scope: string,
  series: SeriesName,
  ceiling: number,
): { readonly noise: Noise; readonly windows: number } {
  for (const name of [scope, WHOLE]) {
    const overdispersion = reference?.figures[figureName(name, series, "rho")];
    const burstFactor = reference?.figures[figureName(name, series, "phi")];
    if (reference !== null && isUsable(overdispersion, 0) && isUsable(burstFactor, 1))
      return { noise: { overdispersion, burstFactor }, windows: reference.windows };
  }
  return { noise: defaultNoise(ceiling), windows: 0 };
}

/**
 * The regression threshold of one tail before the run; null if the reference has none for this scope, was estimated from the
 * canary's own gateways, or under another margin.
 */
export function referenceThreshold(
  reference: Reference | null,
  scope: string,
  tail: TailName,
  { ratio, minDeltaMs }: Margin,
): Threshold | null {
  if (reference === null || reference.from !== "stable") return null;
  const figure = (name: string) => reference.figures[figureName(scope, tail, name)];
  const [limitMs, timed, above, windows] = [figure("limit_ms"), figure("timed"), figure("above"), figure("windows")];
  if (figure("ratio") !== ratio || (figure("min_delta_ms") ?? 0) !== minDeltaMs) return null;
  if (!isUsable(limitMs, 0) || !isUsable(timed, 1) || !isUsable(above, 0) || !isUsable(windows, 1)) return null;
  const sliceRatio = referenceSliceRatio(reference, scope, tail);
  return { limitMs: sliceRatio * limitMs, stableLimitMs: limitMs / TAILS[tail].slack, timed, above, windows };
}

/** Stable's quantile before the run, milliseconds, and its requests around it; null for a reference of version 2. */
export function referenceQuantile(
  reference: Reference | null,
  scope: string,
  tail: TailName,
): { readonly quantileMs: number; readonly counts: QuantileCounts } | null {
  const figure = (name: string) => reference?.figures[figureName(scope, tail, name)];
  const [quantileMs, timed, windows] = [figure("quantile_ms"), figure("timed"), figure("windows")];
  const [above, from] = [figure("above_quantile"), figure("from_quantile")];
  if (!isUsable(quantileMs, 0) || !isUsable(timed, 1) || !isUsable(windows, 1)) return null;
  if (!isUsable(above, 0) || !isUsable(from, 0)) return null;
  return { quantileMs, counts: { timed, windows, above, from } };
}

/** Every quantile of the reference, milliseconds. */
export function referenceQuantilesMs(reference: Reference | null): number[] {
  return Object.entries(reference?.figures ?? {}).flatMap(([name, figure]) =>
    name.endsWith(".quantile_ms") && isUsable(figure, 0) ? figure : [],
  );
}

/** From this share of stable's windows on, being over a ceiling is stable's normal state, and no evidence about a canary. */
const MOSTLY = 0.5;

/** Whether stable by itself is over `maxP99`: its p99 was over it in most windows before the run. */
export function isStableOverCeiling(reference: Reference | null): boolean {
  const share = reference?.from === "stable" ? reference.figures[figureName(WHOLE, "ceiling", "over_share")] : undefined;
  return isUsable(share, 0) && share > MOSTLY;
}

/** How much slower than stable's the canary's gateways were before the run, at least 1: of this AZ, otherwise of the slice. */
export function referenceSliceRatio(reference: Reference | null, scope: string, tail: TailName): number {
  for (const name of [scope, WHOLE]) {
    const ratio = reference?.figures[figureName(name, tail, "slice_ratio")];
    if (isUsable(ratio, 1)) return ratio;
  }
  return 1;
}

/** Every limit of the reference that stable's latencies may be counted against, milliseconds. */
export function referenceLimitsMs(reference: Reference | null): number[] {
  return Object.entries(reference?.figures ?? {}).flatMap(([name, figure]) => {
    const tail = TAIL_NAMES.find((one) => name.endsWith(`${one}.limit_ms`));
    return tail !== undefined && isUsable(figure, 0) ? figure / TAILS[tail].slack : [];
  });
}

function isUsable(value: number | undefined, least: number): value is number {
  return value !== undefined && Number.isFinite(value) && value >= least;
}
