/** The figures of a verdict: traffic of one slice in the last window, and the noise that it was judged with. */
import type { SliceFigures, VerdictBody } from "@aviary/shared/contract/verdict.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import * as histogram from "@aviary/shared/histogram.ts";
import type { JudgedNoise } from "./judge/outcome.ts";
import { selectsSource } from "./judge/window-tally.ts";
import type { CanaryConfig } from "./resolved-config.ts";

/** Figures of one slice over the traffic sources selected by the policy; `null` if the slice has no cell and does not exist. */
export function sliceFigures(
  window: ClosedWindow | null,
  slice: "canary" | "stable",
  traffic: CanaryConfig["policy"]["traffic"],
): SliceFigures {
  let requests = 0;
  let errors = 0;
  const latency = histogram.create();
  for (const cell of window?.cells ?? []) {
    if (cell.slice !== slice || !selectsSource(traffic, cell.source)) continue;
    for (const slot of cell.slots) {
      requests += slot.requests;
      errors += slot.errors_5xx;
      histogram.mergeSparse(latency, slot.latency);
    }
  }
  const rate = requests === 0 ? null : Math.round((errors / requests) * 1e6) / 1e6;
  const p99 = requests === 0 ? null : histogram.quantile(latency, 0.99);
  return {
    requests,
    errors_5xx: errors,
    "5xx_rate": rate,
    error_rate_5xx: rate,
    p99_ms: p99 === null ? null : Math.round(p99 * 10) / 10,
  };
}

export function noiseFigures({ overdispersion, burstFactor, referenceWindows }: JudgedNoise): VerdictBody["judge"]["noise"] {
  return { rho: overdispersion, phi: burstFactor, reference_windows: referenceWindows };
}
