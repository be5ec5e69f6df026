/** When Doctor's findings began: a finding that a gateway had before a run does not fail the run. */
import type { SignalBody } from "@aviary/shared/contract/signal.ts";

/**
 * Event time at which each current finding began, by its `check_id`: the observation of the first report with it after a report
 * without it. Null if no report without it is known.
 */
export type FindingsBegan = ReadonlyMap<string, number | null>;

export interface DoctorHistory {
  readonly before: SignalBody<"doctor"> | null;
  readonly began: FindingsBegan;
  /** Whether the previous report was still current. */
  readonly isContinuous: boolean;
}

/** The updated start times after a report. An unreadable report contains no findings, so those known before it stay. */
export function nextFindingsBegan(
  { before, began, isContinuous }: DoctorHistory,
  report: SignalBody<"doctor">,
  observedAtMs: number,
): FindingsBegan {
  if (report.unknown) return began;
  const wasAbsent = isContinuous && before !== null && !before.unknown;
  const first = wasAbsent ? observedAtMs : null;
  return new Map(
    report.new_vs_baseline.map(({ check_id }) => [check_id, began.has(check_id) ? (began.get(check_id) ?? null) : first]),
  );
}
