/**
 * The on-call engineer: reads the status once per window and follows the runbook with a delay. Only what an entry names is done;
 * a condition without an entry is recorded.
 */
import type { VerdictBody } from "@aviary/shared/contract/verdict.ts";
import type { Advisor } from "../advisors/advisor.ts";
import { type Mac, usedRatio } from "../world/mac.ts";
import { isHealthy, type ReleasePlan } from "../world/releases.ts";
import type { Condition } from "../world/samples.ts";
import { every, type World } from "../world/world.ts";
import { type Entry, entriesFor, readRunbook } from "./runbook.ts";

export interface OnCallOptions {
  readonly world: World;
  readonly advisor: Advisor;
  /** The release that the pipeline is rolling out or has last rolled out. */
  readonly current: () => ReleasePlan | undefined;
  /** Resumes a rollout that its controller has paused. */
  readonly resumeRollout: () => boolean;
  /** Ends a rollout in its controller, if the controller does not do so itself. */
  readonly endRollout: () => boolean;
}

/** How often an entry is followed for one condition, and the interval between attempts. */
const AGAIN_AFTER_WINDOWS = 6;
/** Time on hold after which the engineer aborts the run. */
const ABORT_AFTER_WINDOWS = 18;

/** Usage of a disk at which its dashboard is red, a ratio. */
const FULL_DISK = 0.8;

let runbook: readonly Entry[] | undefined;

export function startOnCall(options: OnCallOptions): void {
  const { world, advisor } = options;
  const { plan, record } = world;
  runbook ??= readRunbook();
  const entries = runbook;
  let condition: Condition | undefined;
  const fullSinceMs = new Map<Mac, number>();
  let actedAtMs = Number.NEGATIVE_INFINITY;

  const poll = (): void => {
    const nowMs = world.nowMs();
    if (options.resumeRollout()) world.narrate("on-call  resumes the rollout that an inconclusive analysis had paused");
    // A full disk shows on every dashboard, so no runbook entry is needed.
    for (const mac of world.macs) {
      if (usedRatio(mac, nowMs) < FULL_DISK) fullSinceMs.delete(mac);
      else if (!fullSinceMs.has(mac)) fullSinceMs.set(mac, nowMs);
      if (nowMs - (fullSinceMs.get(mac) ?? nowMs) < plan.onCallAfterMs) continue;
      world.narrate(`on-call  frees the disk of ${mac.plan.name}`);
      world.remedy(mac, "disk");
    }
    const body = advisor.status();
    const seen = body === undefined ? undefined : needsPeople(body);
    if (seen === undefined) {
      condition = undefined;
      return;
    }
    const found = entriesFor(entries, {
      verdict: body!.verdict,
      state: seen.state,
      codes: body!.reasons.map(({ code }) => code),
    });
    if (condition === undefined || condition.code !== seen.code || condition.state !== seen.state) {
      condition = { sinceMs: nowMs, untilMs: nowMs, ...seen, isNamed: found.length > 0 };
      record.conditions.push(condition);
      actedAtMs = Number.NEGATIVE_INFINITY;
    }
    condition.untilMs = nowMs;
    condition.isNamed ||= found.length > 0;
    const isDue = nowMs - condition.sinceMs >= plan.onCallAfterMs && nowMs - actedAtMs >= AGAIN_AFTER_WINDOWS * plan.windowMs;
    if (!isDue) return;
    actedAtMs = nowMs;
    for (const entry of found) follow(options, entry, body!, nowMs - condition.sinceMs);
  };
  every(world, plan.windowMs, poll, 1_500);
}

/** A hold or a failure of an open run; undefined while nothing needs attention. */
function needsPeople(body: VerdictBody): { state: string; code: string; text: string } | undefined {
  const { run, reasons, verdict } = body;
  const isOpen =
    run !== null && (["pending", "warming", "active"].includes(run.state) || (run.state === "failed" && run.canary_active));
  if (!isOpen || verdict === "pass") return undefined;
  const cause = reasons.find(({ code }) => code !== "latched") ?? reasons[0];
  return { state: run.state, code: cause?.code ?? "none", text: cause?.text ?? "" };
}

/** Performs an entry's action if it has an effect in a simulated world. */
function follow(options: OnCallOptions, { symptom, action }: Entry, body: VerdictBody, lastedMs: number): void {
  const { world, advisor } = options;
  const release = options.current();
  const act = (text: string): void => world.narrate(`on-call  ${text} (runbook: ${symptom.slice(0, 60)})`);
  const command = { caller: "operator", reason: "per the runbook" } as const;
  if (action.includes("Fix NTP")) {
    for (const mac of world.macs.filter(({ clockOffsetMs }) => clockOffsetMs !== 0)) {
      act(`fixes the clock of ${mac.plan.name}`);
      world.remedy(mac, "clock");
    }
  }
  if (action.includes("Start its collector")) {
    for (const mac of world.macs.filter(({ collectorUp, downUntilMs }) => !collectorUp && downUntilMs <= world.nowMs())) {
      act(`starts the collector of ${mac.plan.name}`);
      world.remedy(mac, "collector");
    }
  }
  if (action.includes("aviary run clear") && body.run?.state === "failed" && release !== undefined && isHealthy(release)) {
    act("clears a false positive");
    advisor.operate({ verb: "clear", ...command });
  }
  const isBadOnHand = body.run?.state === "failed" && release !== undefined && !isHealthy(release);
  if (action.includes("revert the change") && isBadOnHand && options.endRollout()) act(`reverts ${release.name} by hand`);
  if (action.includes("start a run") && release !== undefined) {
    act(`starts a run of ${release.name}`);
    advisor.operate({ verb: "start", caller: "operator", revision: release.name });
  }
  const isOnHold = body.verdict === "hold" && lastedMs >= ABORT_AFTER_WINDOWS * world.plan.windowMs;
  if (action.includes("aviary run abort") && isOnHold) {
    act("aborts the run");
    advisor.operate({ verb: "abort", ...command });
    if (action.includes("end the rollout in its controller") && options.endRollout()) act("ends the rollout in its controller");
  }
}
