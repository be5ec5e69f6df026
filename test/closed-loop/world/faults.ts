/**
 * Injected faults that are not caused by a release: of machines, networks, the environment, Aviary's processes and the
 * controllers.
 */
import type { RandomChoices } from "../../simulation/choices.ts";
import type { MacPlan } from "./plan.ts";
import type { ReleasePlan } from "./releases.ts";

/** One injected fault. Times are milliseconds since the start. */
export type InjectedFault = { readonly atMs: number; readonly forMs: number } & (
  | { readonly kind: "incident"; readonly errorRate: number; readonly slowFactor: number }
  /** The Mac reboots; its clock is off by this much until the fault ends. */
  | { readonly kind: "reboot"; readonly mac: string; readonly clockOffsetMs: number }
  /** The Mac is cut off: its collector spools. */
  | { readonly kind: "cut"; readonly mac: string }
  /** The collector is not running. */
  | { readonly kind: "collector-down"; readonly mac: string }
  /** One probe of a collector reports nothing. */
  | { readonly kind: "probe-gone"; readonly mac: string; readonly probe: "http" | "health" | "disk" }
  /** The access log is rotated, and half of its lines are lost for a while. */
  | { readonly kind: "log-rotated"; readonly mac: string }
  /** Other files fill the disk until the on-call engineer frees it. */
  | { readonly kind: "disk-fills"; readonly mac: string }
  /** Announced maintenance of one Mac, during which it reboots. */
  | { readonly kind: "maintenance"; readonly mac: string }
  | { readonly kind: "evaluator-down" }
  | { readonly kind: "shim-down" }
  | { readonly kind: "broker-down" }
  | { readonly kind: "controller-down" }
  /** The analysis of an older revision is still running. */
  | { readonly kind: "left-over-analysis" }
  /** The pipeline for the stable Macs is started before the rollout has ended. */
  | { readonly kind: "eager-pipeline" }
);

export type FaultKind = InjectedFault["kind"];

const KINDS: readonly FaultKind[] = [
  "incident",
  "incident",
  "incident",
  "incident",
  "reboot",
  "reboot",
  "cut",
  "collector-down",
  "probe-gone",
  "log-rotated",
  "disk-fills",
  "maintenance",
  "evaluator-down",
  "shim-down",
  "broker-down",
  "controller-down",
  "left-over-analysis",
  "eager-pipeline",
];

interface FaultContext {
  readonly macs: readonly MacPlan[];
  readonly windowMs: number;
  readonly untilMs: number;
  readonly releases: readonly ReleasePlan[];
}

/** Generates the faults of a world: none in a third of the worlds, otherwise up to four faults of one or two kinds. */
export function drawFaults(random: RandomChoices, context: FaultContext): InjectedFault[] {
  if (random.chance(0.33)) return [];
  const kind = random.pick(KINDS);
  const kinds = random.chance(0.5) ? [kind] : [kind, random.pick(KINDS)];
  const count = random.integer(1, 4);
  return Array.from({ length: count }, () => drawFault(random, random.pick(kinds), context)).sort((a, b) => a.atMs - b.atMs);
}

function drawFault(random: RandomChoices, kind: FaultKind, context: FaultContext): InjectedFault {
  const { windowMs, untilMs, macs, releases } = context;
  const forMs = Math.round(windowMs * random.pick([0.3, 0.5, 1, 2, 4]));
  // Half of the faults are near a release: during its rollout, or shortly before.
  const near = random.chance(0.5) ? random.pick(releases).atMs + random.integer(-6, 8) * windowMs : undefined;
  const drawnMs = near ?? random.integer(0, Math.max(1, Math.floor(untilMs / windowMs))) * windowMs;
  const atMs = Math.max(windowMs, Math.min(drawnMs + random.integer(0, windowMs), untilMs - forMs));
  const mac = random.pick(macs).name;
  const base = { atMs, forMs };
  switch (kind) {
    case "incident":
      return random.chance(0.6)
        ? { ...base, kind, errorRate: random.pick([0.01, 0.05, 0.5]), slowFactor: 1 }
        : { ...base, kind, errorRate: 0, slowFactor: random.pick([1.5, 3]) };
    case "reboot":
      return { ...base, kind, mac, clockOffsetMs: random.pick([0, 0, -90_000, 90_000, -600_000]) };
    case "probe-gone":
      return { ...base, kind, mac, probe: random.pick(["http", "health", "disk"]) };
    case "cut":
    case "collector-down":
    case "log-rotated":
    case "disk-fills":
    case "maintenance":
      return { ...base, kind, mac };
    default:
      return { ...base, kind };
  }
}

/** One line that describes a fault in the story of its world. */
export function describeFault(fault: InjectedFault): string {
  switch (fault.kind) {
    case "incident":
      return `an incident hits both slices (${100 * fault.errorRate}% errors, latency × ${fault.slowFactor})`;
    case "reboot":
      return `${fault.mac} reboots${fault.clockOffsetMs === 0 ? "" : `, its clock off by ${fault.clockOffsetMs / 1_000} s`}`;
    case "probe-gone":
      return `the ${fault.probe} probe of ${fault.mac} reports nothing`;
    case "cut":
      return `${fault.mac} is cut off from the broker`;
    case "collector-down":
      return `the collector of ${fault.mac} is down`;
    case "log-rotated":
      return `the access log of ${fault.mac} is rotated and lines are lost`;
    case "disk-fills":
      return `the disk of ${fault.mac} fills up`;
    case "maintenance":
      return `maintenance of ${fault.mac}`;
    case "evaluator-down":
      return "no evaluator is running";
    case "shim-down":
      return "the shim is down";
    case "broker-down":
      return "the broker is down";
    case "controller-down":
      return "the controller is down";
    case "left-over-analysis":
      return "a left-over analysis of an older revision queries the canary";
    case "eager-pipeline":
      return "the pipeline for the stable Macs is started by mistake";
  }
}
