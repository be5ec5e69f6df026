/**
 * Defects at the level of the specification, such as a missing row of a table or a dropped guarantee. Each is one replacement per
 * service and must be detected by a law or by a limit on the damage.
 */
import type { Defect } from "../simulation/mutated-copy.ts";
import type { Law } from "./judge/laws.ts";
import type { LimitName } from "./judge/limits.ts";
import type { Theme } from "./world/themes.ts";

export interface SpecificationMutant {
  readonly name: string;
  /** At most one per service. */
  readonly replacements: readonly Omit<Defect, "name">[];
  readonly theme: Theme;
  readonly caughtBy: Law | LimitName;
}

const GATES = { service: "shim", file: "adapters/flagger-gates.ts" } as const;

export const SPECIFICATION_MUTANTS: readonly SpecificationMutant[] = [
  {
    name: "promotion-without-evidence",
    replacements: [
      {
        ...GATES,
        from: 'code }) => blocksPromotion(code))) return allow("promotable")',
        to: 'code }) => code === "latched") || true) return allow("promotable")',
      },
    ],
    theme: "low",
    caughtBy: "unproven-promoted",
  },
  {
    name: "promotable-is-not-about-now",
    replacements: [
      {
        ...GATES,
        from: "if (promotable && !reasons.some(({ code }) => blocksPromotion(code)))",
        to: "if (promotable)",
      },
      {
        file: "core/verdict-record.ts",
        from: "run.promotable && !decision.reasons.some(({ code }) => blocksPromotion(code))",
        to: "run.promotable",
      },
    ],
    theme: "late",
    caughtBy: "bad-advanced",
  },
  {
    name: "widening-on-hold",
    replacements: [{ ...GATES, from: "if (run.weight !== 0 || run.granted)", to: "if (run.weight === -1)" }],
    theme: "low",
    caughtBy: "unproven-widened",
  },
  {
    name: "hold-is-a-failed-check",
    replacements: [
      {
        ...GATES,
        from: 'return verdict === "pass" ? allow("pass") : allow(',
        to: 'return verdict === "pass" ? allow("pass") : deny(',
      },
    ],
    theme: "incident",
    caughtBy: "healthy-rolled-back",
  },
  {
    name: "latch-forgotten",
    replacements: [
      {
        file: "core/verdict.ts",
        from: "if (run?.latch)",
        to: "if (run?.latch && run.latch.verdictId === null)",
      },
    ],
    theme: "any",
    caughtBy: "unnamed",
  },
  {
    name: "lane-capped-without-a-run",
    replacements: [{ file: "core/lanes.ts", from: "if (lane.runOpen) capDuringRun(lane, cut);", to: "capDuringRun(lane, cut);" }],
    theme: "any",
    caughtBy: "lane-starved",
  },
  {
    name: "failed-run-never-over",
    replacements: [
      {
        file: "core/advance-run.ts",
        from: "if (!isBack && !isGone) return;",
        to: "if (atMs > 0) return;",
      },
    ],
    theme: "any",
    caughtBy: "lane-starved-minutes",
  },
  {
    name: "no-environment-key",
    replacements: [{ file: "core/judge/window-ranges.ts", from: '? "fail" : "environment"', to: '? "fail" : "fail"' }],
    theme: "incident",
    caughtBy: "healthy-rolled-back",
  },
  {
    name: "pass-without-evidence",
    replacements: [{ file: "core/judge/two-key.ts", from: "return evidence.step && kinds.every", to: "return kinds.every" }],
    theme: "low",
    caughtBy: "unproven-widened",
  },
  {
    name: "suspicion-is-a-pass",
    replacements: [
      {
        file: "core/judge/two-key.ts",
        from: 'kinds.every((kind) => kind === "clear")',
        to: 'kinds.every((kind) => kind !== "environment")',
      },
    ],
    theme: "late",
    caughtBy: "bad-advanced",
  },
  {
    name: "latency-not-judged",
    replacements: [
      {
        file: "core/judge/two-key.ts",
        from: "for (const metric of METRICS) {",
        to: 'for (const metric of METRICS.filter((each) => each === "errors")) {',
      },
    ],
    theme: "any",
    caughtBy: "bad-promoted",
  },
  {
    name: "hold-budget-without-end",
    replacements: [
      {
        file: "core/reconcile.ts",
        from: "const expired = run !== null && (",
        to: "const expired = run !== null && atMs < 0 && (",
      },
    ],
    theme: "any",
    caughtBy: "unnamed",
  },
];
