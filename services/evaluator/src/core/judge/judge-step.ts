/** One step of the judge: the newest window applied to the memory of a run, judged by both rules, and the memory after it. */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import type { AppliedWindow } from "./apply-window.ts";
import { applyWindow } from "./apply-window.ts";
import type { LiteralResult, WindowFigures } from "./literal.ts";
import { literalRule, windowFiguresOf } from "./literal.ts";
import type { JudgedRun } from "./outcome.ts";
import { referenceQuantilesMs } from "./reference.ts";
import { marginOf } from "./regression-limits.ts";
import { WHOLE } from "./rule.ts";
import type { RuleVersion } from "./rule-version.ts";
import { CURRENT_RULE } from "./rule-version.ts";
import type { RunMemory } from "./run-memory.ts";
import { EMPTY_MEMORY, fromJudgeMemory } from "./run-memory.ts";
import { keepStableBand } from "./stable-band.ts";
import type { JudgedScope } from "./traffic-scope.ts";
import { keepScope } from "./traffic-scope.ts";
import type { TwoKeyInput, TwoKeyResult } from "./two-key.ts";
import { isUnusableCeiling, nothingToJudge, twoKeyRule } from "./two-key.ts";

export interface JudgedWindow {
  readonly applied: AppliedWindow;
  /** Both slices in this window alone. */
  readonly figures: WindowFigures;
  readonly input: TwoKeyInput;
  readonly literal: LiteralResult;
  readonly twoKey: TwoKeyResult;
  readonly memory: RunMemory;
}

/** @param windows oldest first, at most 12; the last one is judged */
export function judgeStep(windows: readonly ClosedWindow[], file: Policy, run: JudgedRun): JudgedWindow {
  const policy = policyUnder(run.rule ?? CURRENT_RULE, file);
  const before = (run.memory === null ? null : fromJudgeMemory(run.memory)) ?? rebuiltMemory(windows, policy, run);
  return stepFrom(before, windows, policy, run);
}

/** The policy as a version of the rule reads it: version 2 has no minimum difference of latencies. */
function policyUnder(rule: RuleVersion, policy: Policy): Policy {
  return rule >= 3 ? policy : { ...policy, thresholds: { ...policy.thresholds, minLatencyDeltaMs: 0 } };
}

function stepFrom(
  before: RunMemory,
  windows: readonly ClosedWindow[],
  policy: Policy,
  { judged, reference, rule: version = CURRENT_RULE }: Omit<JudgedRun, "memory">,
): JudgedWindow {
  const applied = applyWindow(before, windows, { policy, reference, version });
  const figures = windowFiguresOf(applied.counted);
  const input = { scopes: judgedScopes(applied), windowNumber: judged + 1, policy, reference, version };
  const last = windows.at(-1)!;
  // A warm-up leaves out requests by plan: those that count are as good as any.
  const complete = (last.complete || last.warm_up === true) && applied.tally.unreadable === null;
  const skipped = isUnusableCeiling(input) ? (["ceiling"] as const) : [];
  const literal = literalRule(figures, complete, before.literal, policy, skipped);
  const twoKey = figures.canary.requests > 0 ? twoKeyRule(input) : nothingToJudge(input);
  return { applied, figures, input, literal, twoKey, memory: memoryAfter(applied, literal, twoKey, input) };
}

/** The whole canary, and each AZ with canary traffic since the start of the run. */
function judgedScopes({ scopes, measurements }: AppliedWindow): JudgedScope[] {
  const names = Object.keys(scopes).filter((name) => name !== WHOLE && scopes[name]!.errors.run.requests > 0);
  return [WHOLE, ...names.sort()].map((name) => ({ name, series: scopes[name]!, measurement: measurements.get(name)! }));
}

function memoryAfter(applied: AppliedWindow, literal: LiteralResult, twoKey: TwoKeyResult, input: TwoKeyInput): RunMemory {
  const scopes = Object.entries(applied.scopes).map(([name, series]) => [name, keepScope(series, twoKey.marked.get(name))]);
  return {
    ...EMPTY_MEMORY,
    scopes: Object.fromEntries(scopes),
    stableBand: keepStableBand(applied.stableBand, marginOf(input.policy), referenceQuantilesMs(input.reference)),
    literal: literal.counts,
  };
}

/** The memory of a run that was lost, rebuilt from the windows before the last one. */
function rebuiltMemory(windows: readonly ClosedWindow[], policy: Policy, run: JudgedRun): RunMemory {
  let memory = EMPTY_MEMORY;
  const known = windows.length - 1;
  for (let k = Math.max(0, known - run.judged); k < known; k++) {
    const judged = run.judged - (known - k);
    memory = stepFrom(memory, windows.slice(0, k + 1), policy, { ...run, judged }).memory;
  }
  return memory;
}
