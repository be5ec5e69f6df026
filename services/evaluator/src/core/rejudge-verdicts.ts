/**
 * Judges recorded verdicts again under another policy. A verdict record contains its closed window, so no signals are needed: the
 * traffic is judged again, and everything that does not depend on traffic (staleness, skew, disks, Doctor) is kept.
 * Windows keep their recorded length; another `window` cannot be evaluated this way.
 */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { Reason, ReasonCode } from "@aviary/shared/contract/reasons.ts";
import { isOpenRun } from "@aviary/shared/contract/run.ts";
import type { Outcome, RunView, VerdictBody, VerdictRecord } from "@aviary/shared/contract/verdict.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import { JUDGED_WINDOWS } from "./apply-closed-window.ts";
import { judge } from "./judge/judge.ts";
import { inForce, type JudgeMemory } from "./judge/outcome.ts";
import { UNNAMED_RULE } from "./judge/rule-version.ts";

export interface Rejudged {
  readonly record: VerdictRecord;
  /** The result of the other policy; equal to the record's own verdict where nothing differs. */
  readonly verdict: Outcome;
  readonly reasons: readonly Reason[];
}

export interface RejudgedRun {
  readonly run: string;
  readonly verdicts: readonly Rejudged[];
  /** When the run failed, and when it would have failed; null if it did not fail. */
  readonly failedAt: string | null;
  readonly wouldFailAt: string | null;
}

/** Reasons emitted by the judge; all others are conditions and hard signals, which another policy does not change here. */
const JUDGED_CODES: ReadonlySet<ReasonCode> = new Set([
  "over_5xx",
  "over_p99",
  "p99_regression",
  "over_4xx",
  "traffic_missing",
  "queue_high",
  "queue_growth",
  "low_traffic",
  "environment",
  "latched",
  "hold_expired",
  "gap",
]);
const HARD_CODES: ReadonlySet<ReasonCode> = new Set(["disk_yellow", "disk_red", "doctor_error"]);

/**
 * Judges the records of one canary again.
 * @param records in the order of publication
 */
export function rejudge(records: readonly VerdictRecord[], policy: Policy): RejudgedRun[] {
  const runs = new Map<string, VerdictRecord[]>();
  for (const record of records) {
    const id = record.body.run?.id;
    if (id === undefined) continue;
    const known = runs.get(id);
    if (known) known.push(record);
    else runs.set(id, [record]);
  }
  return [...runs].map(([run, own]) => rejudgeRun(run, own, policy));
}

/**
 * Whether the run's windows were judged for this verdict. Windows that close while a run is pending or warming are not, although
 * the first verdicts of an active run still contain the last of them.
 */
export function wasJudged({ run, judge: { noise } }: VerdictBody): boolean {
  return (run?.state === "active" || run?.state === "failed") && noise !== null;
}

function rejudgeRun(run: string, records: readonly VerdictRecord[], policy: Policy): RejudgedRun {
  const windows: ClosedWindow[] = [];
  let memory: JudgeMemory | null = null;
  let judged = 0;
  let lastIndex = -1;
  let base: { verdict: Outcome; reasons: readonly Reason[] } | undefined;
  let latched: readonly Reason[] | undefined;
  let wouldFailAt: string | null = null;
  const verdicts: Rejudged[] = [];
  for (const record of records) {
    const { body, evidence } = record;
    if (isOver(body.run!)) break;
    const closed = evidence.closed;
    const judgedThen = wasJudged(body);
    if (judgedThen && closed !== null && closed.window.index > lastIndex && latched === undefined) {
      lastIndex = closed.window.index;
      windows.push(closed);
      if (windows.length > JUDGED_WINDOWS) windows.shift();
      const outcome = judge(windows, policy, {
        judged,
        memory,
        reference: evidence.reference,
        hasStable: body.stable !== null,
        rule: body.judge.rule ?? UNNAMED_RULE,
      });
      memory = outcome.memory;
      judged += 1;
      base = inForce(outcome, policy.mode);
    }
    const result =
      latched === undefined ? combined(record, judgedThen ? base : undefined) : { verdict: "fail" as const, reasons: latched };
    if (result.verdict === "fail" && latched === undefined) {
      latched = result.reasons;
      wouldFailAt = body.at;
    }
    verdicts.push({ record, ...result });
  }
  return { run, verdicts, failedAt: records.find((record) => record.body.verdict === "fail")?.body.at ?? null, wouldFailAt };
}

/**
 * Whether a run is judged no more: it ended, was cleared, or failed and was restored, so its canary slice no longer runs the release
 * under test. Later verdicts state that no run is open, under every policy.
 */
function isOver({ state, latched_by, canary_active }: RunView): boolean {
  if (state === "failed") return latched_by !== null && !canary_active;
  return !isOpenRun({ state, canary_active });
}

function combined(
  { body }: VerdictRecord,
  base: { verdict: Outcome; reasons: readonly Reason[] } | undefined,
): { verdict: Outcome; reasons: readonly Reason[] } {
  const conditions = body.reasons.filter((reason) => !JUDGED_CODES.has(reason.code));
  const hard = conditions.filter((reason) => HARD_CODES.has(reason.code));
  if (body.verdict === "fail" && hard.length > 0) return { verdict: "fail", reasons: hard };
  if (base === undefined) return { verdict: "hold", reasons: body.reasons };
  if (base.verdict === "fail") return base;
  if (conditions.length > 0) return { verdict: "hold", reasons: [...conditions, ...base.reasons] };
  return base;
}
