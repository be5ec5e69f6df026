/**
 * Conditions on the canary slice as a whole, compared with stable: gateways that restart during a run, and a slice that is down.
 * Both are hard signals once only this slice is affected.
 */
import { formatTimeOfDay } from "@aviary/shared/contract/iso-time.ts";
import { reasonText } from "@aviary/shared/contract/reasons.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import { type CheckResult, type GatewayFacts, isInMaintenance, isUp, NO_FINDINGS, reasonOf } from "./gateway-conditions.ts";
import { lastRestartMs, restartsSince } from "./restarts.ts";
import type { Run } from "./state.ts";

export interface SliceFacts {
  /** All gateways of the canary, in file order. */
  readonly gateways: readonly GatewayFacts[];
  readonly run: Run | null;
  /** The last closed window of the run. */
  readonly lastWindow: ClosedWindow | null;
}

const isCanary = ({ gateway }: GatewayFacts): boolean => gateway.slice === "canary";

/**
 * From when on restarts of a gateway count, event time. Installing a release restarts its gateway, which is neither before the
 * end of the run's warm-up nor within a warm-up after its release changed.
 */
function countedFromMs({ gateway, config }: GatewayFacts, run: Run): number {
  return Math.max(run.judgeFromMs, gateway.releaseSinceMs + config.policy.warmupMs);
}

/**
 * A canary gateway that restarted within the last window or is warming up again is a hold. Too many restarts fail the run with the
 * window of the last one: within a window, restarts that stable shares may be reported after the canary's.
 */
export function checkRestarts({ gateways, run, lastWindow }: SliceFacts): CheckResult {
  if (run === null || run.state !== "active") return NO_FINDINGS;
  const canary = gateways.filter((facts) => isCanary(facts) && !isInMaintenance(facts));
  const holds = canary.flatMap((facts) => restartingReason(facts, run));
  const excess = lastWindow === null ? undefined : excessRestarts(gateways, canary, countingOf(run, lastWindow));
  return excess === undefined ? { holds } : { hard: [{ concern: "gateway", reason: excess }] };
}

function restartingReason(facts: GatewayFacts, run: Run) {
  const { gateway, known, config, nowMs } = facts;
  const restarts = restartsSince(gateway.restarts, run.judgeFromMs);
  const lastMs = restarts === 0 ? undefined : lastRestartMs(gateway.restarts);
  const isWarmingUp = isUp(facts) && known.health?.warm === false;
  const isRecent = lastMs !== undefined && nowMs < lastMs + config.policy.windowMs;
  if (!isWarmingUp && !isRecent) return [];
  const times = restarts === 1 ? "once" : `${restarts} times`;
  const text =
    lastMs === undefined
      ? "is in its warm-up again"
      : `restarted ${times} in this run, last at ${formatTimeOfDay(lastMs)}${isWarmingUp ? ", and is in its warm-up" : ""}`;
  return [reasonOf(gateway, "restarting", text, { metric: "restarts", value: restarts })];
}

/** The next instant at which a restart is a window ago; Infinity if none is more recent. */
export function restartSettlesAtMs({ gateways, run }: SliceFacts): number {
  let nextMs = Number.POSITIVE_INFINITY;
  if (run === null || run.state !== "active") return nextMs;
  for (const { gateway, config, nowMs } of gateways.filter(isCanary)) {
    const settlesMs = (lastRestartMs(gateway.restarts) ?? Number.NEGATIVE_INFINITY) + config.policy.windowMs;
    if (settlesMs > nowMs) nextMs = Math.min(nextMs, settlesMs);
  }
  return nextMs;
}

/** Counts the restarts of one gateway in the closed windows of the run. */
type CountRestarts = (facts: GatewayFacts) => number;

function countingOf(run: Run, { window }: ClosedWindow): CountRestarts {
  const endMs = Date.parse(window.end);
  return (facts) =>
    restartsSince(facts.gateway.restarts, countedFromMs(facts, run)) -
    restartsSince(facts.gateway.restarts, Math.max(endMs, countedFromMs(facts, run)));
}

/** Restarts of the canary slice over the policy's limit, while fewer of stable's gateways restart. */
function excessRestarts(gateways: readonly GatewayFacts[], canary: readonly GatewayFacts[], count: CountRestarts) {
  const worst = [...canary].sort((a, b) => count(b) - count(a))[0];
  if (worst === undefined) return undefined;
  const { maxRestarts } = worst.config.policy;
  const total = canary.reduce((sum, facts) => sum + count(facts), 0);
  if (total < maxRestarts) return undefined;
  const stable = gateways.filter((facts) => !isCanary(facts) && !isInMaintenance(facts));
  const stableTotal = stable.reduce((sum, facts) => sum + count(facts), 0);
  const isStableLower = stable.length === 0 || stableTotal / stable.length < total / canary.length;
  if (!isStableLower) return undefined;
  const { gateway } = worst;
  const text = `canary gateways restarted ${total} times in this run (limit ${maxRestarts}), stable's ${stableTotal} times; most of all ${gateway.name} (${gateway.az})`;
  return {
    code: "restarting" as const,
    metric: "restarts",
    az: gateway.az,
    gateway: gateway.name,
    value: total,
    limit: maxRestarts,
    text: reasonText(text),
  };
}

/** All canary gateways were down for a whole window of the run, and stable is up where they are. */
export function checkOutage({ gateways, run, lastWindow }: SliceFacts): CheckResult {
  if (run === null || run.state !== "active" || lastWindow === null) return NO_FINDINGS;
  const canary = gateways.filter(isCanary);
  const startMs = Date.parse(lastWindow.window.start);
  const isDown = (facts: GatewayFacts): boolean => {
    const { downSinceMs } = facts.gateway.restarts;
    return !isInMaintenance(facts) && facts.known.health !== null && downSinceMs !== null && downSinceMs <= startMs;
  };
  if (canary.length === 0 || !canary.every(isDown)) return NO_FINDINGS;
  const stable = comparableStable(gateways, canary);
  if (stable.length === 0 || !stable.every(isUp)) return NO_FINDINGS;
  const { gateway } = canary[0]!;
  const text = `all ${canary.length} canary gateways were down for the whole window from ${formatTimeOfDay(startMs)}, and stable is up`;
  const reason = { code: "gateway_down" as const, az: gateway.az, gateway: gateway.name, text: reasonText(text) };
  return { hard: [{ concern: "gateway", reason }] };
}

/** Stable gateways in the AZs of the canary slice; all of them if there are none there. Those in maintenance prove nothing. */
function comparableStable(gateways: readonly GatewayFacts[], canary: readonly GatewayFacts[]): readonly GatewayFacts[] {
  const stable = gateways.filter((facts) => !isCanary(facts) && !isInMaintenance(facts));
  const azs = new Set(canary.map(({ gateway }) => gateway.az));
  const near = stable.filter(({ gateway }) => azs.has(gateway.az));
  return near.length > 0 ? near : stable;
}
