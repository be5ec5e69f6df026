/** The decisions of other tools on the same counts, one per window. */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import { defaultPolicy } from "@aviary/shared/contract/policy.ts";
import type { LiteralCounts, WindowFigures } from "../../services/evaluator/src/core/judge/literal.ts";
import { literalRule, NO_COUNTS } from "../../services/evaluator/src/core/judge/literal.ts";
import { compareRate } from "../../services/evaluator/src/core/judge/rule.ts";
import type { SimulatedWindow } from "./traffic.ts";
import { sum } from "./two-key.ts";

/** A rule that watches a run: true if the run fails in this window. */
export interface Watcher {
  judge(window: SimulatedWindow): boolean;
}

/** The judge's own threshold rule: two consecutive windows over the ceiling. */
export function literalWatcher(ceiling: number): Watcher {
  const policy = policyFor(ceiling);
  let counts: LiteralCounts = NO_COUNTS;
  return {
    judge(window) {
      const result = literalRule(errorFigures(window), true, counts, policy);
      counts = result.counts;
      return result.outcomes.errors === "fail";
    },
  };
}

/**
 * A fixed threshold per window and a number of tolerated failed checks, consecutive or not: Flagger with `threshold: 2` tolerates
 * one, an Argo Rollouts metric with `failureLimit: 3` tolerates three.
 */
export function thresholdWatcher(ceiling: number, allowedErrors: number): Watcher {
  let failed = 0;
  return {
    judge(window) {
      const { canary } = errorFigures(window);
      if (canary.requests > 0 && compareRate(canary.errors, canary.requests, ceiling) > 0) failed++;
      return failed > allowedErrors;
    },
  };
}

const policies = new Map<number, Policy>();

function policyFor(ceiling: number): Policy {
  let policy = policies.get(ceiling);
  if (policy === undefined) {
    const base = defaultPolicy();
    policy = { ...base, thresholds: { ...base.thresholds, max5xxRate: ceiling } };
    policies.set(ceiling, policy);
  }
  return policy;
}

function errorFigures(window: SimulatedWindow): WindowFigures {
  const slice = (name: "canary" | "stable") => ({
    requests: window.reduce((total, az) => total + sum(az[name].requests), 0),
    errors: window.reduce((total, az) => total + sum(az[name].failures), 0),
    p99Ms: null,
  });
  return { canary: slice("canary"), stable: slice("stable") };
}
