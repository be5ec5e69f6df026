/** Schedules the events of a plan: releases and their faults, operator actions, infrastructure faults. */
import { type ControlContent, controlMessage } from "@aviary/shared/contract/control.ts";
import { controlSubject, signalSubject } from "@aviary/shared/contract/subjects.ts";
import type { Disk } from "./disk.ts";
import { FLEET, type Truth } from "./gateway.ts";
import { count, type History } from "./history.ts";
import { type Kernel, START_MS } from "./kernel.ts";
import type { Node } from "./nodes.ts";
import { EVALUATORS, type InfrastructureFault, type OperatorAction, type Plan, packOf, type RevisionPlan, SHIM } from "./plan.ts";
import { CANARY } from "./shim-node.ts";

export interface Stage {
  readonly plan: Plan;
  readonly kernel: Kernel;
  readonly history: History;
  readonly nodes: ReadonlyMap<string, Node>;
  readonly disks: ReadonlyMap<string, Disk>;
  readonly truths: ReadonlyMap<string, Truth>;
  /** Publishes a control message as the operator's command line does. */
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
    kernel.after(revision.atMs + revision.faultAfterMs, undefined, () => injectMachineFault(stage, revision));
  }
  for (const { action, atMs } of plan.operatorActions) kernel.after(atMs, undefined, () => performOperatorAction(stage, action));
  for (const fault of plan.infrastructureFaults)
    kernel.after(fault.atMs, undefined, () => injectInfrastructureFault(stage, fault));
}

/** Installs the revision's pack on the canary gateways, one shortly after another. */
function install(stage: Stage, revision: RevisionPlan, atMs: number): void {
  slice(stage, "canary").forEach((truth, index) => {
    stage.kernel.after(atMs + index * 700, undefined, () => {
      trace(stage, `canary gateway ${index} runs ${revision.name}`);
      truth.pack = packOf(revision);
    });
  });
}

/**
 * Acts as the promoter: promotes to stable after a success, and rolls the canary back after a failure if the plan requires it.
 */
export function afterOutcome(stage: Stage, revision: RevisionPlan, outcome: "succeeded" | "failed"): void {
  trace(stage, `the controller finished ${revision.name}: ${outcome}`);
  count(stage.history, `controller ${outcome}`);
  const [from, to] = outcome === "succeeded" ? (["canary", "stable"] as const) : (["stable", "canary"] as const);
  if (outcome === "failed" && !revision.isRestored) return;
  slice(stage, to).forEach((truth, index) => {
    stage.kernel.after(2_000 + index * 900, undefined, () => {
      truth.pack = slice(stage, from)[0]?.pack ?? STABLE.pack;
    });
  });
}

/** The gateways that a fault affects, the change it makes to them, and how the change is undone. */
function machineFaultOf(
  stage: Stage,
  revision: RevisionPlan,
): { affected: Truth[]; change: Partial<Truth>; undo: Partial<Truth> } | undefined {
  const canaries = slice(stage, "canary");
  const all = [...stage.truths.values()];
  const first = canaries.slice(0, 1);
  switch (revision.fault) {
    case "none":
      return undefined;
    case "errors":
      return { affected: canaries, change: { errorShare: 0.2 }, undo: { errorShare: 0 } };
    case "latency":
      return { affected: canaries, change: { latencyMs: 900 }, undo: { latencyMs: HEALTHY.latencyMs } };
    case "disk":
      return { affected: all.slice(-1), change: { diskUsedRatio: 0.85 }, undo: { diskUsedRatio: HEALTHY.diskUsedRatio } };
    case "down":
      return { affected: first, change: { health: "refused" }, undo: { health: "up" } };
    case "environment":
      return { affected: all, change: { errorShare: 0.2 }, undo: { errorShare: 0 } };
    case "odd-release":
      return { affected: first, change: { pack: "d".repeat(64) }, undo: { pack: canaries[1]?.pack ?? packOf(revision) } };
    case "doctor":
      return { affected: first, change: { doctorError: true }, undo: { doctorError: false } };
    case "no-traffic-reports":
      return { affected: first, change: { reportsTraffic: false }, undo: { reportsTraffic: true } };
    case "no-skills-reports":
      return { affected: first, change: { reportsSkills: false }, undo: { reportsSkills: true } };
    case "crash-loop":
      return { affected: first, change: { crashes: true, errorShare: 0.8 }, undo: { crashes: false, errorShare: 0 } };
    case "queue":
      return { affected: all, change: { queueDepth: 14 }, undo: { queueDepth: 1 } };
  }
}

function injectMachineFault(stage: Stage, revision: RevisionPlan): void {
  const found = machineFaultOf(stage, revision);
  if (found === undefined) return;
  const { affected, change, undo } = found;
  trace(stage, `fault: ${revision.fault}`);
  for (const truth of affected) Object.assign(truth, change);
  stage.kernel.after(revision.faultForMs, undefined, () => {
    for (const truth of affected) Object.assign(truth, undo);
  });
}

function performOperatorAction(stage: Stage, action: OperatorAction): void {
  const nowMs = stage.kernel.nowMs;
  const content: ControlContent =
    action === "maintenance"
      ? {
          verb: "maintenance",
          caller: "operator",
          on: true,
          until: new Date(START_MS + nowMs + 8_000).toISOString(),
          mute: true,
          reason: "disk swap",
        }
      : action === "start"
        ? { verb: "start", caller: "operator", revision: `by-hand-${nowMs}` }
        : { verb: action, caller: "operator", reason: "because" };
  trace(stage, `operator: ${action}`);
  count(stage.history, `operator ${action}`);
  const send = (content: ControlContent): void => {
    const message = controlMessage(CANARY, content, new Date(START_MS + nowMs).toISOString(), `${nowMs}`);
    stage.publish(controlSubject(FLEET, CANARY, content.verb), message.id, JSON.stringify(message));
  };
  send(content);
  if (action === "pause")
    stage.kernel.after(7_000, undefined, () => send({ verb: "resume", caller: "operator", reason: "seen enough" }));
}

const INVALID_MESSAGES = ["{", "null", '{"v":1,"seq":NaN}', '{"v":2}', "[]"];

function injectInfrastructureFault(stage: Stage, fault: InfrastructureFault): void {
  switch (fault.kind) {
    case "blackout":
      count(stage.history, "blackout");
      for (const name of [...EVALUATORS, SHIM]) stage.nodes.get(name)!.kill(fault.downMs, "crashes in the blackout");
      break;
    case "invalid-messages":
      publishInvalidMessages(stage);
      break;
    case "broken-disk":
      breakDisk(stage, fault.node, fault.forMs);
      break;
    default:
      injectNodeFault(stage.nodes.get(fault.node)!, fault);
  }
}

function injectNodeFault(
  node: Node,
  fault: Exclude<InfrastructureFault, { kind: "blackout" | "invalid-messages" | "broken-disk" }>,
): void {
  switch (fault.kind) {
    case "crash":
      node.kill(fault.downMs, "crashes");
      break;
    case "on-write":
      node.onWrite(fault.nth, () => {
        const { effect, forMs } = fault;
        if (effect === "crash") node.kill(forMs, "crashes when the broker stores its write");
        else if (effect === "pause") node.pause(forMs);
        else node.cut(forMs, forMs % 2 === 0);
      });
      break;
    case "restart":
      node.restart(fault.downMs);
      break;
    case "pause":
      node.pause(fault.forMs);
      break;
    case "cut":
      node.cut(fault.forMs, fault.isSilent);
      break;
    case "clock-step":
      node.stepClock(fault.byMs);
      break;
  }
}

function publishInvalidMessages(stage: Stage): void {
  count(stage.history, "invalid-messages");
  for (const [index, data] of INVALID_MESSAGES.entries()) {
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
