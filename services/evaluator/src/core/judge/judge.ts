/**
 * The judge: from the closed windows of a run and its memory to an outcome in both modes, with reasons.
 * Pure: the same input yields the same bytes. docs/judge.md describes the rules and lists edge cases.
 */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import type { AppliedWindow } from "./apply-window.ts";
import { applyWindow, memoryAfter, rebuiltMemory } from "./apply-window.ts";
import type { Coverage } from "./coverage.ts";
import { coverageOf } from "./coverage.ts";
import { byWeight, worstOf } from "./graded-reasons.ts";
import type { LiteralResult } from "./literal.ts";
import { literalRule, windowFiguresOf } from "./literal.ts";
import type { JudgedRun, JudgeOutcome, ModeOutcome } from "./outcome.ts";
import type { QueueResult } from "./queue.ts";
import { queueRule } from "./queue.ts";
import { MAX_RANGE_WINDOWS, WHOLE } from "./rule.ts";
import { fromJudgeMemory, toJudgeMemory } from "./run-memory.ts";
import { azSpikeWarnings } from "./sentences.ts";
import type { JudgedScope } from "./traffic-scope.ts";
import type { TwoKeyResult } from "./two-key.ts";
import { nothingToJudge, twoKeyRule } from "./two-key.ts";

/**
 * @param windows the run's closed windows, oldest first, of which the last 12 are used; the last one is judged
 * @param run the state of the run. Without memory, it is rebuilt from the given windows
 * @throws RangeError if there is no window
 */
export function judge(windows: readonly ClosedWindow[], policy: Policy, run: JudgedRun): JudgeOutcome {
  const { recent, last, before, applied, figures, input } = judgeWindows(windows, policy, run);
  const coverage = coverageOf(last, applied, figures, run.hasStable);
  const queue = queueRule(recent, policy);
  // A warm-up leaves out requests by plan: those that count are as good as any.
  const counts = last.complete || last.warm_up === true;
  const literal = literalRule(figures, counts && applied.tally.unreadable === null, before.literal, policy);
  const twoKey = figures.canary.requests > 0 ? twoKeyRule(input) : nothingToJudge(input);
  return {
    literal: modeOutcome(literal, azSpikeWarnings(input.scopes, policy), true, coverage, queue),
    twoKey: modeOutcome(twoKey, twoKey.warnings, twoKey.promoteEvidence, coverage, queue),
    consecutiveOver: Math.max(...Object.values(literal.counts)),
    pValue: twoKey.pValue,
    noise: { ...twoKey.noise, referenceWindows: run.reference?.windows ?? 0 },
    memory: toJudgeMemory(memoryAfter(applied, literal.counts, policy)),
  };
}

/** The input of both modes and of the explanation of a verdict: the new window applied to the state of the run. */
export function judgeWindows(windows: readonly ClosedWindow[], policy: Policy, run: JudgedRun) {
  const recent = windows.slice(-MAX_RANGE_WINDOWS);
  const last = recent.at(-1);
  if (last === undefined) throw new RangeError("judge: no window to judge; call it after one has closed");
  const before = (run.memory === null ? null : fromJudgeMemory(run.memory)) ?? rebuiltMemory(recent, policy, run);
  const applied = applyWindow(before, recent, policy, run.reference);
  const figures = windowFiguresOf(applied.counted);
  const input = { scopes: judgedScopes(applied), windowNumber: run.judged + 1, policy, reference: run.reference };
  return { recent, last, before, applied, figures, input };
}

/** The whole canary, and each AZ with canary traffic since the start of the run. */
function judgedScopes({ scopes, measurements }: AppliedWindow): JudgedScope[] {
  const names = Object.keys(scopes).filter((name) => name !== WHOLE && scopes[name]!.errors.run.requests > 0);
  return [WHOLE, ...names.sort()].map((name) => ({ name, series: scopes[name]!, measurement: measurements.get(name)! }));
}

/** Combines the result of one mode's rule with what applies in both modes. */
function modeOutcome(
  { outcomes, reasons }: Pick<LiteralResult | TwoKeyResult, "outcomes" | "reasons">,
  warnings: ModeOutcome["warnings"],
  evidence: boolean,
  coverage: Coverage,
  queue: QueueResult,
): ModeOutcome {
  const errors = worstOf(outcomes.errors, coverage.errors);
  const latency = worstOf(outcomes.ceiling, outcomes.regression, coverage.latency);
  const verdict = worstOf(errors, latency, queue.outcome);
  return {
    verdict,
    reasons: byWeight([...coverage.reasons, ...reasons, ...queue.reasons]),
    warnings: [...warnings, ...queue.warnings, ...coverage.warnings],
    promotable: verdict === "pass" && evidence,
    concerns: { errors, latency, queue: queue.outcome },
  };
}
