/** Schedules a plan in a world: releases and their faults, actions of operators, infrastructure faults. */
import { type ControlContent, controlMessage } from "@aviary/shared/contract/control.ts";
import { controlSubject, signalSubject } from "@aviary/shared/contract/subjects.ts";
import type { Disk } from "./disk.ts";
import { FLEET, type Truth } from "./gateway.ts";
import { count, type History } from "./history.ts";
import { type Kernel, START_MS } from "./kernel.ts";
import type { Node } from "./nodes.ts";
import { EVALUATORS, type Misfortune, type OperatorDeed, type Plan, packOf, type RevisionPlan, SHIM } from "./plan.ts";
import { CANARY } from "./shim-node.ts";

export interface Stage {
  readonly plan: Plan;
  readonly kernel: Kernel;
  readonly history: History;
  readonly nodes: ReadonlyMap<string, Node>;
  readonly disks: ReadonlyMap<string, Disk>;
  readonly truths: ReadonlyMap<string, Truth>;
  /** Publishes like an operator's command line. */
  publish(subject: string, id: string | undefined, data: string): void;
}

const STABLE = { version: "2026.9.6", pack: "a".repeat(64) };
const HEALTHY = {
  errorShare: 0,
  latencyMs: 40,
  health: "up",
  diskUsedRatio: 0.4,
  doctorError: false,
  queueDepth: 3,
  reportsTraffic: true,
  reportsSkills: true,
  crashes: false,
} as const;

export const newTruth = (): Truth => ({ ...STABLE, ...HEALTHY });

const trace = (stage: Stage, text: string): void => {
  stage.history.trace?.push(`${(stage.kernel.nowMs / 1000).toFixed(3).padStart(8)} ${text}`);
};

function slice(stage: Stage, wanted: "canary" | "stable"): Truth[] {
  return stage.plan.gateways.filter((gateway) => gateway.slice === wanted).map(({ name }) => stage.truths.get(name)!);
}

/** Schedules the whole plan. */
export function schedule(stage: Stage): void {
  const { plan, kernel } = stage;
  for (const revision of plan.revisions) {
    if (revision.packAfterMs !== undefined) install(stage, revision, revision.atMs + revision.packAfterMs);
    kernel.after(revision.atMs + revision.troubleAfterMs, undefined, () => trouble(stage, revision));
  }
  for (const { deed, atMs } of plan.deeds) kernel.after(atMs, undefined, () => doDeed(stage, deed));
  for (const misfortune of plan.misfortunes) kernel.after(misfortune.atMs, undefined, () => befall(stage, misfortune));
}

/** The canary gateways get the revision's pack, one shortly after the other. */
function install(stage: Stage, revision: RevisionPlan, atMs: number): void {
  slice(stage, "canary").forEach((truth, index) => {
    stage.kernel.after(atMs + index * 700, undefined, () => {
      trace(stage, `canary gateway ${index} runs ${revision.name}`);
      truth.pack = packOf(revision);
    });
  });
}

/** The promoter's role: after a success stable follows, after a failure the canary is rolled back, if the plan does so. */
export function afterOutcome(stage: Stage, revision: RevisionPlan, outcome: "succeeded" | "failed"): void {
  trace(stage, `the controller is done with ${revision.name}: ${outcome}`);
  count(stage.history, `controller ${outcome}`);
  const [from, to] = outcome === "succeeded" ? (["canary", "stable"] as const) : (["stable", "canary"] as const);
  if (outcome === "failed" && !revision.isRestored) return;
  slice(stage, to).forEach((truth, index) => {
    stage.kernel.after(2_000 + index * 900, undefined, () => {
      truth.pack = slice(stage, from)[0]?.pack ?? STABLE.pack;
    });
  });
}

/** Each fault, the machine it affects, and how it ends. */
function troubleOf(
  stage: Stage,
  revision: RevisionPlan,
): { who: Truth[]; change: Partial<Truth>; back: Partial<Truth> } | undefined {
  const canaries = slice(stage, "canary");
  const all = [...stage.truths.values()];
  const first = canaries.slice(0, 1);
  switch (revision.trouble) {
    case "none":
      return undefined;
    case "errors":
      return { who: canaries, change: { errorShare: 0.2 }, back: { errorShare: 0 } };
    case "latency":
      return { who: canaries, change: { latencyMs: 900 }, back: { latencyMs: HEALTHY.latencyMs } };
    case "disk":
      return { who: all.slice(-1), change: { diskUsedRatio: 0.85 }, back: { diskUsedRatio: HEALTHY.diskUsedRatio } };
    case "down":
      return { who: first, change: { health: "refused" }, back: { health: "up" } };
    case "environment":
      return { who: all, change: { errorShare: 0.2 }, back: { errorShare: 0 } };
    case "odd-release":
      return { who: first, change: { pack: "d".repeat(64) }, back: { pack: canaries[1]?.pack ?? packOf(revision) } };
    case "doctor":
      return { who: first, change: { doctorError: true }, back: { doctorError: false } };
    case "no-traffic-reports":
      return { who: first, change: { reportsTraffic: false }, back: { reportsTraffic: true } };
    case "no-skills-reports":
      return { who: first, change: { reportsSkills: false }, back: { reportsSkills: true } };
    case "crash-loop":
      return { who: first, change: { crashes: true, errorShare: 0.8 }, back: { crashes: false, errorShare: 0 } };
    case "queue":
      return { who: all, change: { queueDepth: 14 }, back: { queueDepth: 1 } };
  }
}

function trouble(stage: Stage, revision: RevisionPlan): void {
  const found = troubleOf(stage, revision);
  if (found === undefined) return;
  const { who, change, back } = found;
  trace(stage, `trouble: ${revision.trouble}`);
  for (const truth of who) Object.assign(truth, change);
  stage.kernel.after(revision.troubleForMs, undefined, () => {
    for (const truth of who) Object.assign(truth, back);
  });
}

function doDeed(stage: Stage, deed: OperatorDeed): void {
  const nowMs = stage.kernel.nowMs;
  const content: ControlContent =
    deed === "maintenance"
      ? {
          verb: "maintenance",
          caller: "operator",
          on: true,
          until: new Date(START_MS + nowMs + 8_000).toISOString(),
          mute: true,
          reason: "disk swap",
        }
      : deed === "start"
        ? { verb: "start", caller: "operator", revision: `by-hand-${nowMs}` }
        : { verb: deed, caller: "operator", reason: "because" };
  trace(stage, `operator: ${deed}`);
  count(stage.history, `operator ${deed}`);
  const send = (content: ControlContent): void => {
    const message = controlMessage(CANARY, content, new Date(START_MS + nowMs).toISOString(), `${nowMs}`);
    stage.publish(controlSubject(FLEET, CANARY, content.verb), message.id, JSON.stringify(message));
  };
  send(content);
  if (deed === "pause")
    stage.kernel.after(7_000, undefined, () => send({ verb: "resume", caller: "operator", reason: "seen enough" }));
}

const GARBAGE = ["{", "null", '{"v":1,"seq":NaN}', '{"v":2}', "[]"];

function befall(stage: Stage, misfortune: Misfortune): void {
  switch (misfortune.kind) {
    case "blackout":
      count(stage.history, "blackout");
      for (const name of [...EVALUATORS, SHIM]) stage.nodes.get(name)!.kill(misfortune.downMs, "crashes in the blackout");
      break;
    case "garbage":
      throwGarbage(stage);
      break;
    case "broken-disk":
      breakDisk(stage, misfortune.node, misfortune.forMs);
      break;
    default:
      befallNode(stage.nodes.get(misfortune.node)!, misfortune);
  }
}

function befallNode(node: Node, misfortune: Exclude<Misfortune, { kind: "blackout" | "garbage" | "broken-disk" }>): void {
  switch (misfortune.kind) {
    case "crash":
      node.kill(misfortune.downMs, "dies");
      break;
    case "on-write":
      node.onWrite(misfortune.nth, () => {
        const { deed, forMs } = misfortune;
        if (deed === "crash") node.kill(forMs, "crashes as the broker stores its write");
        else if (deed === "pause") node.pause(forMs);
        else node.cut(forMs, forMs % 2 === 0);
      });
      break;
    case "restart":
      node.restart(misfortune.downMs);
      break;
    case "pause":
      node.pause(misfortune.forMs);
      break;
    case "cut":
      node.cut(misfortune.forMs, misfortune.isSilent);
      break;
    case "clock-step":
      node.stepClock(misfortune.byMs);
      break;
  }
}

function throwGarbage(stage: Stage): void {
  count(stage.history, "garbage");
  for (const [index, data] of GARBAGE.entries()) {
    const { az, name } = stage.plan.gateways[index % stage.plan.gateways.length]!;
    stage.publish(signalSubject({ az, fleet: FLEET, gateway: name }, "http"), undefined, data);
  }
}

function breakDisk(stage: Stage, node: string, forMs: number): void {
  const disk = stage.disks.get(node);
  if (disk === undefined) return;
  disk.broken = true;
  stage.kernel.after(forMs, undefined, () => {
    disk.broken = false;
  });
}
