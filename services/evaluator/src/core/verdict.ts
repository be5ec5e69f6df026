/**
 * Decides a canary's verdict from the judge's outcome, the current conditions, and the state of the run: an ordered list of rules.
 */

import { formatTimeOfDay } from "@aviary/shared/contract/iso-time.ts";
import { type Reason, reasonText } from "@aviary/shared/contract/reasons.ts";
import type { Release } from "@aviary/shared/contract/run.ts";
import { formatCount } from "@aviary/shared/contract/units.ts";
import type { Outcome } from "@aviary/shared/contract/verdict.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import type { Conditions } from "./conditions.ts";
import { inForce, type ModeOutcome } from "./judge/outcome.ts";
import { releaseText } from "./release.ts";
import type { CanaryConfig } from "./resolved-config.ts";
import { type CanaryState, isOpen, type Latch, type Run } from "./state.ts";

/** Everything a decision is based on, gathered once per step. */
export interface CanaryFacts {
  readonly canary: CanaryState;
  readonly config: CanaryConfig;
  readonly conditions: Conditions;
  /** Set if the canary slice changed its release during the run without an announcement. */
  readonly releaseChanged: Reason | undefined;
  /** The canary slice's release, if no run is open because it was already analyzed. */
  readonly alreadyAnalyzed: Release | undefined;
  readonly holdBudget: HoldBudget;
}

/** How long the run is on hold, if this step is a hold too. */
export interface HoldBudget {
  readonly heldSinceMs: number;
  readonly expired: boolean;
}

export interface Decision {
  readonly verdict: Outcome;
  readonly reasons: readonly Reason[];
  readonly warnings: readonly Reason[];
  /** While a fail is latched: the current reasons. */
  readonly current?: readonly Reason[];
  /** The concern that fails the run, if this decision fails it. */
  readonly failing: Latch["concern"] | undefined;
}

/** Decides fail, hold or pass, with reasons. The first rule that applies decides. */
export function decide(facts: CanaryFacts): Decision {
  const { conditions, config } = facts;
  const { run } = facts.canary;
  if (run?.latch)
    return {
      verdict: "fail",
      reasons: latchedReasons(run, run.latch),
      current: [...hardReasons(conditions), ...conditions.holds],
      warnings: conditions.warnings,
      failing: undefined,
    };
  if (!isOpen(run) || run === null || run.state === "failed") return noRun(facts);
  if (run.state === "pending") return pending(facts, run);
  const hard = conditions.isSuspended ? undefined : conditions.hard[0];
  if (hard !== undefined) return newFailure(facts, hardReasons(conditions), hard.concern);
  if (run.state === "warming") return warming(facts, run);
  return judged(facts, run.outcome === null ? undefined : inForce(run.outcome, config.policy.mode));
}

const hardReasons = (conditions: Conditions): Reason[] => conditions.hard.map(({ reason }) => reason);

/** Number of reasons that a latch keeps, and that the failing verdict contains. */
const MAX_LATCHED_REASONS = 5;

function newFailure({ conditions }: CanaryFacts, reasons: readonly Reason[], concern: Latch["concern"]): Decision {
  return {
    verdict: "fail",
    reasons: reasons.slice(0, MAX_LATCHED_REASONS),
    warnings: conditions.warnings,
    failing: concern,
  };
}

function hold({ conditions }: CanaryFacts, first: readonly Reason[]): Decision {
  return { verdict: "hold", reasons: [...first, ...conditions.holds], warnings: conditions.warnings, failing: undefined };
}

function noRun(facts: CanaryFacts): Decision {
  const text = noRunText(facts.canary.run, facts.alreadyAnalyzed);
  return hold(facts, [{ code: "no_run", text }, ...hardReasons(facts.conditions)]);
}

function pending(facts: CanaryFacts, run: Run): Decision {
  const required = facts.config.policy.macRelease === "required" ? " and the policy requires it (macRelease)" : "";
  const text = `revision ${run.controllerRevision ?? run.revision}: its release is not on the canary slice yet${required}`;
  return hold(facts, [...hardReasons(facts.conditions), { code: "pending", text: reasonText(text) }]);
}

function warming(facts: CanaryFacts, run: Run): Decision {
  const text = `warming up until ${formatTimeOfDay(run.judgeFromMs)}: traffic is measured and not judged`;
  return hold(facts, [{ code: "warming", text }]);
}

/** Combines the judge's outcome for an active run with the conditions; what would fail a suspended run is a hold. */
function judged(facts: CanaryFacts, outcome: ModeOutcome | undefined): Decision {
  const { conditions, releaseChanged, holdBudget } = facts;
  const changed = releaseChanged === undefined ? [] : [releaseChanged];
  if (outcome === undefined)
    return hold(facts, [...changed, { code: "low_traffic", text: "the first window of the run has not closed yet" }]);
  if (outcome.verdict === "fail" && !conditions.isSuspended)
    return newFailure(facts, outcome.reasons, failedConcern(outcome.concerns));
  const warnings = [...conditions.warnings, ...outcome.warnings];
  const held = outcome.verdict === "pass" ? [] : heldReasons(outcome.reasons);
  const reasons = [...changed, ...conditions.holds, ...hardReasons(conditions), ...held];
  if (reasons.length === 0)
    return { verdict: "pass", reasons, warnings: [...warnings, ...lateWarnings(facts.canary.lastWindow)], failing: undefined };
  const expired: Reason[] = holdBudget.expired ? [holdExpiredReason(holdBudget)] : [];
  return { verdict: "hold", reasons: [...reasons, ...expired], warnings, failing: undefined };
}

function holdExpiredReason({ heldSinceMs }: HoldBudget): Reason {
  const text = `on hold since ${formatTimeOfDay(heldSinceMs)}, longer than the hold budget; an incident was raised`;
  return { code: "hold_expired", text };
}

/** A hold always has a reason. */
function heldReasons(reasons: readonly Reason[]): readonly Reason[] {
  if (reasons.length > 0) return reasons;
  return [{ code: "low_traffic", text: "not enough evidence yet; more requests are needed" }];
}

function noRunText(run: Run | null, alreadyAnalyzed: Release | undefined): string {
  if (alreadyAnalyzed !== undefined)
    return reasonText(
      `no run is open: ${releaseText(alreadyAnalyzed)} was already analyzed; start a new run with \`aviary run start\``,
    );
  if (run === null || run.state === "idle") return "no run is open";
  const name = run.controllerRevision ?? run.revision;
  if (run.state === "aborted" && run.endedBy === "operator")
    return reasonText(
      `an operator aborted ${name}: end the rollout in its controller, or analyze it again with \`aviary run start\``,
    );
  return reasonText(`no run is open: the last one (${name}) ${run.state === "passed" ? "passed" : `is ${run.state}`}`);
}

/** Why the run failed, with the reasons as of that time. */
function latchedReasons(run: Run, latch: Latch): Reason[] {
  if (latch.verdictId === null) return latch.reasons;
  const stays = run.restored ? "the run ended; the failure stays latched" : "latched";
  const text = `failed at ${formatTimeOfDay(latch.atMs)} (verdict ${latch.verdictId}; reasons as of that time); ${stays} until a new revision or \`aviary run clear\``;
  return [...latch.reasons, { code: "latched", text }];
}

function failedConcern(concerns: { errors: Outcome; latency: Outcome; queue: Outcome }): Latch["concern"] {
  if (concerns.errors === "fail") return "errors";
  return concerns.latency === "fail" ? "latency" : "queue";
}

function lateWarnings(window: ClosedWindow | null): Reason[] {
  if (window === null || window.late === 0) return [];
  return [
    {
      code: "late",
      value: window.late,
      unit: "1",
      text: `${formatCount(window.late, "signal")} arrived after the window had closed: counted, not judged`,
    },
  ];
}

/** The reason of a release that changed during the run without an announcement. */
export function releaseChangedReason(run: Run, release: NonNullable<Run["pinned"]>): Reason {
  return {
    code: "release_changed",
    text: reasonText(
      `the canary slice runs ${releaseText(release)}; the run pinned ${run.pinned === null ? "nothing" : releaseText(run.pinned)}`,
    ),
  };
}
