/**
 * The judge: from the closed windows of a run and its memory to an outcome in both modes, with reasons.
 * Pure: the same input yields the same bytes. docs/judge.md describes the rules and lists edge cases.
 */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import type { Absorbed } from "./apply-window.ts";
import { absorb, relearned, stateAfter } from "./apply-window.ts";
import type { Coverage } from "./coverage.ts";
import { coverageOf } from "./coverage.ts";
import { byWeight, worstOf } from "./graded-reasons.ts";
import type { LiteralResult } from "./literal.ts";
import { figuresOf, literalRule } from "./literal.ts";
import type { JudgedRun, JudgeOutcome, ModeOutcome } from "./outcome.ts";
import type { QueueResult } from "./queue.ts";
import { queueRule } from "./queue.ts";
import { LONGEST, WHOLE } from "./rule.ts";
import { asMemory, asState } from "./run-memory.ts";
import { spikesByAz } from "./sentences.ts";
import type { JudgedView } from "./traffic-scope.ts";
import type { TwoKeyResult } from "./two-key.ts";
import { nothingToJudge, twoKeyRule } from "./two-key.ts";

/**
 * @param windows the run's closed windows, oldest first, of which the last 12 are used; the last one is judged
 * @param run the state of the run. Without memory, it is rebuilt from the given windows
 * @throws RangeError if there is no window
 */
export function judge(windows: readonly ClosedWindow[], policy: Policy, run: JudgedRun): JudgeOutcome {
  const { recent, last, before, now, figures, input } = judgeWindows(windows, policy, run);
  const coverage = coverageOf(last, now, figures, run.hasStable);
  const queue = queueRule(recent, policy);
  const literal = literalRule(figures, last.complete && now.tally.unreadable === null, before.literal, policy);
  const twoKey = figures.canary.requests > 0 ? twoKeyRule(input) : nothingToJudge(input);
  return {
    literal: modeOutcome(literal, spikesByAz(input.views, policy), true, coverage, queue),
    twoKey: modeOutcome(twoKey, twoKey.warnings, twoKey.promoteEvidence, coverage, queue),
    consecutiveOver: Math.max(...Object.values(literal.counts)),
    luck: twoKey.luck,
    noise: { ...twoKey.noise, reference_windows: run.reference?.windows ?? 0 },
    memory: asMemory(stateAfter(now, literal.counts, policy)),
  };
}

/** The input of both modes and of the explanation of a verdict: the new window applied to the state of the run. */
export function judgeWindows(windows: readonly ClosedWindow[], policy: Policy, run: JudgedRun) {
  const recent = windows.slice(-LONGEST);
  const last = recent.at(-1);
  if (last === undefined) throw new RangeError("judge: no window to judge; call it after one has closed");
  const before = (run.memory === null ? null : asState(run.memory)) ?? relearned(recent, policy, run);
  const now = absorb(before, recent, policy, run.reference);
  const figures = figuresOf(now.counted);
  const input = { views: judgedViews(now), t: run.judged + 1, policy, reference: run.reference };
  return { recent, last, before, now, figures, input };
}

/** The whole canary, and each AZ with canary traffic since the start of the run. */
function judgedViews({ views, measured }: Absorbed): JudgedView[] {
  const names = Object.keys(views).filter((name) => name !== WHOLE && views[name]!.errors.run.requests > 0);
  return [WHOLE, ...names.sort()].map((name) => ({ name, view: views[name]!, measured: measured.get(name)! }));
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
