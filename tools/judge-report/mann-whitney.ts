/**
 * A judge in the style of Kayenta: one-minute error rates of canary and stable since the start of the run are compared with the
 * Mann-Whitney test.
 * The run fails if the lower confidence bound (98%, two-sided) of the shift between the two is above a quarter of the estimated
 * shift (the Hodges-Lehmann estimate): Kayenta's classifier with its defaults, evaluated after every window, with a critical
 * metric.
 */
import type { Watcher } from "./other-rules.ts";
import type { SimulatedWindow } from "./traffic.ts";

/** The 99% quantile of the normal distribution: one side of 98% confidence. */
const CONFIDENCE = 2.3263478740408408;
const TOLERANCE = 0.25;

export function mannWhitneyWatcher(): Watcher {
  const canary: number[] = [];
  const stable: number[] = [];
  return {
    judge(window) {
      addRates(canary, window, "canary");
      addRates(stable, window, "stable");
      // Most windows end here: no shift at all is the weaker hypothesis.
      if (score(canary, stable, 0) <= CONFIDENCE) return false;
      const shift = medianDifference(canary, stable);
      return shift > 0 && score(canary, stable, TOLERANCE * shift) > CONFIDENCE;
    },
  };
}

function addRates(rates: number[], window: SimulatedWindow, slice: "canary" | "stable"): void {
  const slots = window[0]![slice].requests.length;
  for (let k = 0; k < slots; k++) {
    let n = 0;
    let x = 0;
    for (const az of window) {
      n += az[slice].requests[k]!;
      x += az[slice].failures[k]!;
    }
    if (n > 0) rates.push(x / n);
  }
}

/** The z-score of "canary - shift is larger than stable": normal approximation, corrected for ties and continuity. */
export function score(canary: readonly number[], stable: readonly number[], shift: number): number {
  const [m, n] = [canary.length, stable.length];
  if (m === 0 || n === 0) return 0;
  const values = [...canary.map((value) => ({ value: value - shift, own: 1 })), ...stable.map((value) => ({ value, own: 0 }))];
  values.sort((p, q) => p.value - q.value);
  let ranks = 0;
  let ties = 0;
  for (let k = 0; k < values.length; ) {
    let end = k;
    let own = 0;
    while (end < values.length && values[end]!.value === values[k]!.value) own += values[end++]!.own;
    const size = end - k;
    ranks += own * (k + (size + 1) / 2);
    ties += size ** 3 - size;
    k = end;
  }
  const total = m + n;
  const variance = ((m * n) / 12) * (total + 1 - ties / (total * (total - 1)));
  const above = ranks - (m * (m + 1)) / 2 - (m * n) / 2;
  return variance > 0 ? (above - Math.sign(above) * 0.5) / Math.sqrt(variance) : 0;
}

/** The median of all differences canary - stable (Hodges and Lehmann 1963). */
function medianDifference(canary: readonly number[], stable: readonly number[]): number {
  const differences = Float64Array.from(
    { length: canary.length * stable.length },
    (_, k) => canary[Math.floor(k / stable.length)]! - stable[k % stable.length]!,
  ).sort();
  const middle = differences.length >> 1;
  return differences.length % 2 === 1 ? differences[middle]! : (differences[middle - 1]! + differences[middle]!) / 2;
}
