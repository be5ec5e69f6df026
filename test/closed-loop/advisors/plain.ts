/**
 * The rules that Aviary is compared with. Each decides pass, hold or fail from the data available to it, and answers through one
 * table: confirm gates open on a pass, the rollback gate on a fail, and the lane is never limited.
 */
import type { Outcome } from "@aviary/shared/contract/verdict.ts";
import { knowledgeOf } from "../judge/knowledge.ts";
import type { ControllerKind } from "../world/plan.ts";
import { CEILING, SLOW_CEILING } from "../world/plan.ts";
import { isHealthy } from "../world/releases.ts";
import type { World } from "../world/world.ts";
import type { Advisor } from "./advisor.ts";

/** A rule in one world. */
interface Rule {
  /** The answer of gates and analyses. */
  readonly decide: () => Outcome;
  /** The answer to a metric check, if it differs. */
  readonly measure?: () => Outcome;
}

/** Whether the canary's last interval is over a ceiling, as a controller's own metric measures it at the balancer. */
function lastInterval(world: World): Outcome {
  const sinceMs = world.nowMs() - Math.max(world.plan.intervalMs, world.plan.periodMs);
  let requests = 0;
  let errors = 0;
  let overCeiling = 0;
  for (let index = world.record.traffic.length - 1; index >= 0; index--) {
    const sample = world.record.traffic[index]!;
    if (sample.atMs <= sinceMs) break;
    if (sample.slice !== "canary") continue;
    requests += sample.requests;
    errors += sample.errors;
    overCeiling += sample.overCeiling;
  }
  // Flagger: "no values found" is a failed check; Argo: the recommended query without data is Inconclusive.
  if (requests === 0) return "hold";
  return errors / requests > CEILING || overCeiling / requests > SLOW_CEILING ? "fail" : "pass";
}

/**
 * Reads the truth about every release. It widens a healthy release once the canary Macs run it, never widens another, and fails
 * that one when a perfect judge of its traffic would.
 */
function oracle(world: World): Outcome {
  const release = world.plan.releases.findLast(({ atMs }) => atMs <= world.nowMs());
  if (release === undefined) return "hold";
  if (!isHealthy(release)) {
    const { knownAtMs } = knowledgeOf(world.record.traffic, release, world.plan.windowMs);
    return knownAtMs <= world.nowMs() ? "fail" : "hold";
  }
  return world.macs.every(({ plan, release: runs }) => plan.slice === "stable" || runs === release) ? "pass" : "hold";
}

const always = (outcome: Outcome): Rule => ({ decide: () => outcome });

/** The rules by name, for one world. */
export const PLAIN_RULES = {
  "always-yes": () => always("pass"),
  "always-hold": () => always("hold"),
  oracle: (world: World): Rule => ({ decide: () => oracle(world) }),
  // Its gates are open, so only the metric counts, and the second failed check ends the rollout.
  "flagger-thresholds": (world: World): Rule => ({ decide: () => "pass", measure: () => lastInterval(world) }),
  "argo-thresholds": (world: World): Rule => ({ decide: () => lastInterval(world) }),
} as const satisfies Record<string, (world: World) => Rule>;

/** The controller that a rule is run with; undefined for the world's own controller. */
export const CONTROLLER_OF: Partial<Record<string, ControllerKind>> = {
  "flagger-thresholds": "flagger",
  "argo-thresholds": "rollouts",
};

const SAMPLE: Readonly<Record<Outcome, string>> = { pass: "1", hold: "0.5", fail: "0" };

export function plainAdvisor(world: World, rule: Rule): Advisor {
  const promoted = (): Set<unknown> =>
    new Set(world.record.steps.filter(({ what }) => what === "promoted").map(({ release }) => release));
  const metric = (): string => {
    const measured = rule.measure?.();
    return measured === undefined ? SAMPLE[rule.decide()] : measured === "pass" ? "1" : "0";
  };
  return {
    async request(_caller, path) {
      const outcome = rule.decide();
      const gate = /^\/flagger\/gate\/(.+)$/.exec(path)?.[1];
      if (gate === "rollback") return { status: outcome === "fail" ? 200 : 403, body: outcome };
      if (gate?.startsWith("confirm-")) return { status: outcome === "pass" ? 200 : 403, body: outcome };
      if (path.endsWith("/api/v1/query")) return { status: 200, body: `{"data":{"result":[{"value":[0,"${metric()}"]}]}}` };
      if (path === "/keda/metrics") return { status: 200, body: JSON.stringify({ scale: { depth: world.lane.jobs, allow: 1 } }) };
      return { status: 200, body: JSON.stringify({ verdict: outcome, run: { promotable: outcome === "pass" } }) };
    },
    mayInstall: (mac, release) => mac.plan.slice === "canary" || release === undefined || promoted().has(release),
    runOpen: () => false,
    status: () => undefined,
    operate: () => undefined,
    close: async () => undefined,
  };
}
