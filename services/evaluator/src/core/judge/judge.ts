/**
 * The judge: from the closed windows of a run and its memory to an outcome in both modes, with reasons.
 * Pure: the same input yields the same bytes. docs/judge.md describes the rules and lists edge cases.
 */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import { clientErrorRule } from "./client-errors.ts";
import type { Coverage } from "./coverage.ts";
import { coverageOf } from "./coverage.ts";
import { byWeight, worstOf } from "./graded-reasons.ts";
import { judgeStep } from "./judge-step.ts";
import type { LiteralResult } from "./literal.ts";
import type { MarginalResult } from "./marginal-result.ts";
import type { JudgedRun, JudgeOutcome, ModeOutcome } from "./outcome.ts";
import type { QueueResult } from "./queue.ts";
import { queueRule } from "./queue.ts";
import { MAX_RANGE_WINDOWS, WHOLE } from "./rule.ts";
import type { RunMemory } from "./run-memory.ts";
import { toJudgeMemory } from "./run-memory.ts";
import { azSpikeWarnings } from "./sentences.ts";
import { trafficShareRule } from "./traffic-share.ts";
import type { TwoKeyResult } from "./two-key.ts";

/**
 * @param windows the run's closed windows, oldest first, of which the last 12 are used; the last one is judged
 * @param run the state of the run. Without memory, it is rebuilt from the given windows
 * @throws RangeError if there is no window
 */
export function judge(windows: readonly ClosedWindow[], policy: Policy, run: JudgedRun): JudgeOutcome {
  const { recent, last, judged } = judgeWindows(windows, policy, run);
  const { applied, figures, input, literal, twoKey } = judged;
  const coverage = coverageOf(last, applied, figures, run.hasStable);
  const queue = queueRule(recent, policy);
  const marginal = input.version >= 3 ? [clientErrorRule(recent, policy), trafficShareRule(recent, figures, policy)] : [];
  const common = { coverage, queue, marginal };
  return {
    literal: modeOutcome(literal, azSpikeWarnings(input.scopes, policy), true, common),
    twoKey: modeOutcome(twoKey, twoKey.warnings, twoKey.promoteEvidence, common),
    consecutiveOver: Math.max(...Object.values(literal.counts)),
    pValue: twoKey.pValue,
    noise: { ...twoKey.noise, referenceWindows: run.reference?.windows ?? 0 },
    rule: input.version,
    leftOut: leftOutIndexes(judged.memory, recent),
    memory: toJudgeMemory(judged.memory),
  };
}

/** The last windows of the run, and the judgment of the newest, for the verdict and for its explanation. */
export function judgeWindows(windows: readonly ClosedWindow[], policy: Policy, run: JudgedRun) {
  const recent = windows.slice(-MAX_RANGE_WINDOWS);
  const last = recent.at(-1);
  if (last === undefined) throw new RangeError("judge: no window to judge; call it after one has closed");
  return { recent, last, judged: judgeStep(recent, policy, run) };
}

/** The indexes of the windows that left the sums of the whole canary in any metric. */
function leftOutIndexes({ scopes }: RunMemory, windows: readonly ClosedWindow[]): number[] {
  const series = Object.values(scopes[WHOLE] ?? {});
  return windows.flatMap(({ window }, k) =>
    series.some(({ recent }) => recent.at(k - windows.length)?.leftOut === true) ? window.index : [],
  );
}

/** What applies in both modes. */
interface CommonResults {
  readonly coverage: Coverage;
  readonly queue: QueueResult;
  readonly marginal: readonly MarginalResult[];
}

/** Combines the result of one mode's rule with what applies in both modes. */
function modeOutcome(
  { outcomes, reasons }: Pick<LiteralResult | TwoKeyResult, "outcomes" | "reasons">,
  warnings: ModeOutcome["warnings"],
  evidence: boolean,
  { coverage, queue, marginal }: CommonResults,
): ModeOutcome {
  const errors = worstOf(outcomes.errors, coverage.errors, ...marginal.map(({ outcome }) => outcome));
  const latency = worstOf(outcomes.ceiling, outcomes.regression, coverage.latency);
  const verdict = worstOf(errors, latency, queue.outcome);
  return {
    verdict,
    reasons: byWeight([...coverage.reasons, ...reasons, ...marginal.flatMap((one) => one.reasons), ...queue.reasons]),
    warnings: [...warnings, ...queue.warnings, ...coverage.warnings],
    promotable: verdict === "pass" && evidence,
    concerns: { errors, latency, queue: queue.outcome },
  };
}
