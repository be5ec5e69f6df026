/**
 * The plan of one seed: the fleet and its policy, the releases under test and their faults, and the infrastructure faults. Each
 * seed enables a few kinds of faults, so that some worlds have many of one kind and some have none.
 */
import type { PolicyFile } from "@aviary/shared/contract/policy.ts";
import type { Slice } from "@aviary/shared/contract/run.ts";
import { createChoices, type RandomChoices } from "./choices.ts";
import { GOOD_LINK, type LinkPlan } from "./link.ts";

export interface WorldGateway {
  readonly name: string;
  readonly az: string;
  readonly slice: Slice;
  readonly requests: number;
}

/** Faults of the machines under test. */
export type MachineFault =
  | "none"
  | "errors"
  | "latency"
  | "disk"
  | "down"
  | "environment"
  | "odd-release"
  | "doctor"
  | "queue"
  /** One probe of one gateway fails; the others keep reporting. */
  | "no-traffic-reports"
  | "no-skills-reports"
  /** One gateway crashes every few seconds, with errors. */
  | "crash-loop";

export interface RevisionPlan {
  readonly name: string;
  readonly atMs: number;
  /** When the canary gateways get its pack; undefined if the revision changes nothing on the Macs. */
  readonly packAfterMs: number | undefined;
  /** Whether the controller announces the pack. Otherwise a late pack is an unannounced change. */
  readonly announcesPack: boolean;
  readonly fault: MachineFault;
  readonly faultAfterMs: number;
  readonly faultForMs: number;
  /** Whether the canary gateways are rolled back to the stable pack after a failure. */
  readonly isRestored: boolean;
}

/** Faults of Aviary's own nodes, their network and their disks. */
export type InfrastructureFault =
  | { readonly kind: "crash"; readonly node: string; readonly atMs: number; readonly downMs: number }
  /** Strikes when the broker stores the node's n-th write after `atMs`, so the acknowledgement is lost or late. */
  | {
      readonly kind: "on-write";
      readonly node: string;
      readonly atMs: number;
      readonly nth: number;
      readonly effect: "crash" | "pause" | "cut";
      readonly forMs: number;
    }
  | { readonly kind: "restart"; readonly node: string; readonly atMs: number; readonly downMs: number }
  | { readonly kind: "pause"; readonly node: string; readonly atMs: number; readonly forMs: number }
  | { readonly kind: "cut"; readonly node: string; readonly atMs: number; readonly forMs: number; readonly isSilent: boolean }
  | { readonly kind: "clock-step"; readonly node: string; readonly atMs: number; readonly byMs: number }
  | { readonly kind: "broken-disk"; readonly node: string; readonly atMs: number; readonly forMs: number }
  /** Everything but the broker and its streams crashes at once and restarts. */
  | { readonly kind: "blackout"; readonly atMs: number; readonly downMs: number }
  | { readonly kind: "invalid-messages"; readonly atMs: number };

export type OperatorAction = "pause" | "abort" | "clear" | "maintenance" | "start";

export interface Plan {
  readonly seed: number;
  readonly gateways: readonly WorldGateway[];
  readonly controller: "flagger" | "rollouts" | "none";
  readonly policy: PolicyFile;
  readonly hasLane: boolean;
  readonly revisions: readonly RevisionPlan[];
  readonly operatorActions: readonly { readonly action: OperatorAction; readonly atMs: number }[];
  readonly infrastructureFaults: readonly InfrastructureFault[];
  readonly links: Readonly<Record<string, LinkPlan>>;
  /** No fault starts at or after this time. */
  readonly faultsUntilMs: number;
  /** No faults and no operator actions; the rollout of such a world must succeed. */
  readonly isCalm: boolean;
}

export const EVALUATORS = ["evaluator-1", "evaluator-2"] as const;
export const SHIM = "shim";
export const collectorOf = (gateway: string): string => `collector-${gateway}`;

const SHAPES: readonly (readonly [string, Slice][])[] = [
  [
    ["a", "canary"],
    ["a", "stable"],
  ],
  [
    ["a", "canary"],
    ["b", "canary"],
    ["a", "stable"],
  ],
  [
    ["a", "canary"],
    ["a", "stable"],
    ["b", "stable"],
  ],
  [
    ["a", "canary"],
    ["b", "canary"],
  ],
];

const MACHINE_FAULTS: readonly MachineFault[] = [
  "none",
  "none",
  "no-traffic-reports",
  "no-skills-reports",
  "errors",
  "errors",
  "crash-loop",
  "latency",
  "disk",
  "down",
  "environment",
  "odd-release",
  "doctor",
  "queue",
];
const INFRASTRUCTURE_FAULTS = [
  "crash",
  "crash",
  "on-write",
  "on-write",
  "on-write",
  "restart",
  "pause",
  "pause",
  "cut",
  "cut",
  "clock-step",
  "broken-disk",
  "blackout",
  "invalid-messages",
] as const;

/** The pack of a revision: 64 hex digits. */
export const packOf = (revision: RevisionPlan): string => Buffer.from(revision.name).toString("hex").padEnd(64, "0");

/** Generates the plan of one seed. */
export function planOf(seed: number): Plan {
  const random = createChoices(seed, 0);
  const isCalm = random.chance(0.06);
  const shape = random.pick(SHAPES);
  const gateways = shape.map(([zone, slice]): WorldGateway => {
    const name = `${slice}-${zone}`;
    return { name, az: `az-${zone}`, slice, requests: random.integer(60, 200) };
  });
  const controller = isCalm || random.chance(0.65) ? "flagger" : random.pick(["rollouts", "none"] as const);
  const faultsUntilMs = isCalm ? 40_000 : random.integer(26_000, 46_000);
  const plan: Omit<Plan, "infrastructureFaults" | "links"> = {
    seed,
    gateways,
    controller,
    policy: policyOf(random, isCalm),
    hasLane: random.chance(0.6),
    revisions: revisionsOf(random, isCalm, faultsUntilMs),
    operatorActions: isCalm ? [] : operatorActionsOf(random, faultsUntilMs),
    faultsUntilMs,
    isCalm,
  };
  const nodes = [...EVALUATORS, ...EVALUATORS, SHIM, ...gateways.map(({ name }) => collectorOf(name))];
  return {
    ...plan,
    infrastructureFaults: isCalm ? [] : infrastructureFaultsOf(random, nodes, faultsUntilMs),
    links: linksOf(random, nodes, isCalm),
  };
}

function policyOf(random: RandomChoices, isCalm: boolean): PolicyFile {
  return {
    mode: isCalm || random.chance(0.75) ? "literal" : "two-key",
    evidence: "eager",
    window: `${random.integer(5, 6)}s`,
    grace: `${random.integer(6, 20) * 100}ms`,
    warmup: `${random.integer(0, 3)}s`,
    macRelease: random.chance(0.15) ? "required" : "optional",
    promoteAfterPassWindows: random.integer(1, 2),
    passAfterWindows: random.integer(2, 5),
    holdBudget: `${random.integer(6, 14)}s`,
    maxPending: `${random.integer(10, 18)}s`,
    settleRelease: `${random.integer(0, 4)}s`,
    callerLease: `${random.integer(8, 20)}s`,
    maxRun: `${random.integer(isCalm ? 45 : 30, 50)}s`,
    stableNeedsPass: random.chance(0.3),
    doctorBeforeTraffic: !isCalm && random.chance(0.1),
  };
}

function revisionsOf(random: RandomChoices, isCalm: boolean, faultsUntilMs: number): RevisionPlan[] {
  const revisions: RevisionPlan[] = [];
  let atMs = random.integer(2_000, 8_000);
  for (let index = 0; index < (isCalm ? 1 : 3) && atMs < faultsUntilMs; index++) {
    revisions.push({
      name: `v${index + 2}`,
      atMs,
      packAfterMs: isCalm || random.chance(0.85) ? random.integer(0, 3_000) : undefined,
      announcesPack: isCalm || random.chance(0.6),
      fault: isCalm ? "none" : random.pick(MACHINE_FAULTS),
      faultAfterMs: random.integer(2_000, 18_000),
      faultForMs: random.integer(4_000, 30_000),
      isRestored: random.chance(0.7),
    });
    atMs += random.integer(16_000, 34_000);
  }
  return revisions;
}

function operatorActionsOf(random: RandomChoices, faultsUntilMs: number): Plan["operatorActions"] {
  const operatorActions: { action: OperatorAction; atMs: number }[] = [];
  while (random.chance(0.25)) {
    operatorActions.push({
      action: random.pick(["pause", "abort", "clear", "clear", "maintenance", "start"] as const),
      atMs: random.integer(6_000, faultsUntilMs),
    });
  }
  return operatorActions;
}

function infrastructureFaultsOf(random: RandomChoices, nodes: readonly string[], faultsUntilMs: number): InfrastructureFault[] {
  const kinds = Array.from({ length: random.integer(1, 3) }, () => random.pick(INFRASTRUCTURE_FAULTS));
  const list: InfrastructureFault[] = [];
  for (let left = random.integer(1, 7); left > 0; left--) {
    const kind = random.pick(kinds);
    const node = random.pick(nodes);
    const atMs = random.integer(1_000, faultsUntilMs);
    const downMs = random.chance(0.2) ? random.integer(8_000, 25_000) : random.integer(200, 5_000);
    if (kind === "crash" || kind === "restart") list.push({ kind, node, atMs, downMs });
    else if (kind === "on-write") {
      const effect = random.pick(["crash", "pause", "cut"] as const);
      list.push({ kind, node, atMs, nth: random.integer(1, 12), effect, forMs: random.integer(1_000, 9_000) });
    } else if (kind === "pause") list.push({ kind, node, atMs, forMs: random.integer(500, random.chance(0.3) ? 25_000 : 7_000) });
    else if (kind === "cut") {
      const forMs = random.integer(300, random.chance(0.3) ? 30_000 : 8_000);
      list.push({ kind, node, atMs, forMs, isSilent: random.chance(0.5) });
      // A flapping link comes back and fails again before the backlog is sent.
      if (random.chance(0.5))
        list.push({
          kind,
          node,
          atMs: atMs + forMs + random.integer(20, 1_500),
          forMs: random.integer(300, 4_000),
          isSilent: false,
        });
    } else if (kind === "clock-step") list.push({ kind, node, atMs, byMs: clockStep(random) });
    else if (kind === "broken-disk") list.push({ kind, node, atMs, forMs: random.integer(1_000, 15_000) });
    else if (kind === "blackout") list.push({ kind, atMs, downMs });
    else list.push({ kind, atMs });
  }
  return list.filter(({ atMs }) => atMs < faultsUntilMs).sort((a, b) => a.atMs - b.atMs);
}

function clockStep(random: RandomChoices): number {
  const byMs = random.chance(0.5) ? random.integer(50, 3_000) : random.integer(3_000, 30_000);
  return random.chance(0.5) ? byMs : -byMs;
}

function linksOf(random: RandomChoices, nodes: readonly string[], isCalm: boolean): Record<string, LinkPlan> {
  const links: Record<string, LinkPlan> = {};
  const isBad = !isCalm && random.chance(0.6);
  for (const node of nodes) {
    links[node] ??=
      isBad && random.chance(0.6)
        ? {
            loss: random.pick([0, 0.01, 0.05, 0.15]),
            slow: random.pick([0, 0.05, 0.3]),
            slowMs: random.pick([200, 900, 2_500]),
            duplicate: random.pick([0, 0.05, 0.3]),
            forget: random.pick([0, 0, 0.5]),
          }
        : GOOD_LINK;
  }
  return links;
}
