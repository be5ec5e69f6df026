/**
 * The judge: the closed windows of a run, and what it remembers of the run, in; an outcome in both modes, with reasons, out.
 * Pure: the same input gives the same bytes. How it decides, in words and with an edge-case table: docs/judge.md.
 */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import type { Absorbed } from "./absorb.ts";
import { absorb, relearned, stateAfter } from "./absorb.ts";
import type { Coverage } from "./coverage.ts";
import { coverageOf } from "./coverage.ts";
import { byWeight, worstOf } from "./graded.ts";
import type { LiteralResult } from "./literal.ts";
import { figuresOf, literalRule } from "./literal.ts";
import { asMemory, asState } from "./memory.ts";
import type { JudgedRun, JudgeOutcome, ModeOutcome } from "./outcome.ts";
import type { QueueResult } from "./queue.ts";
import { queueRule } from "./queue.ts";
import { LONGEST, WHOLE } from "./rule.ts";
import { spikesByAz } from "./sentences.ts";
import type { TwoKeyResult } from "./two-key.ts";
import { nothingToJudge, twoKeyRule } from "./two-key.ts";
import type { JudgedView } from "./view.ts";

/**
 * @param windows the run's closed windows, oldest first, of which the last 12 are used; the last one is judged now.
 * @param run where the run stands. Without memory the judge learns the run again from the windows it is given.
 * @throws RangeError when there is no window.
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

/** What both modes, and the explanation of a verdict, read: the new window taken into what was known of the run. */
export function judgeWindows(windows: readonly ClosedWindow[], policy: Policy, run: JudgedRun) {
  const recent = windows.slice(-LONGEST);
  const last = recent.at(-1);
  if (last === undefined) throw new RangeError("judge: no window to judge; call it when one has closed");
  const before = (run.memory === null ? null : asState(run.memory)) ?? relearned(recent, policy, run);
  const now = absorb(before, recent, policy, run.reference);
  const figures = figuresOf(now.counted);
  const input = { views: judgedViews(now), t: run.judged + 1, policy, reference: run.reference };
  return { recent, last, before, now, figures, input };
}

/** The whole canary, and each AZ in which it has had traffic since the run's start. */
function judgedViews({ views, measured }: Absorbed): JudgedView[] {
  const names = Object.keys(views).filter((name) => name !== WHOLE && views[name]!.errors.run.n > 0);
  return [WHOLE, ...names.sort()].map((name) => ({ name, view: views[name]!, measured: measured.get(name)! }));
}

/** What the rule of a mode found, with what holds in both modes. */
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
