/**
 * Desired state of the running local fleet, as small JSON files. Commands replace a file atomically, and the parts poll it for
 * changes. Files rather than a socket, because they survive a restart and are readable with `cat`.
 */
import { readFileSync, statSync } from "node:fs";
import { type FleetPlan, paths, STABLE_VERSION, writeJson } from "./layout.ts";

/** Desired behavior of one gateway. */
export interface DesiredGateway {
  /** Reported by `/startupz`. A change restarts the gateway's runtime, as in a real one. */
  readonly version: string;
  /** Share of work requests that return 500. */
  readonly errorRatio: number;
  /** Latency added to every work request. */
  readonly slowMs: number;
  /** `suppressed`: ready, but some channels are not started. `channel`: not ready because of a failing channel. */
  readonly state: "up" | "draining" | "channel" | "suppressed";
}

/** Desired state of everything outside the gateways. */
export interface DesiredFleet {
  /** Gateways that are killed and not restarted. */
  readonly dead: readonly string[];
  /** AZs whose collectors cannot reach NATS. */
  readonly cut: readonly string[];
  /** Clock offset of collectors, in milliseconds by gateway name. */
  readonly clockOffsetMs: Readonly<Record<string, number>>;
  /** Queue depth that the lane's producer maintains; null for normal operation. */
  readonly laneDepth: number | null;
}

/** Applied by the load balancer, and read by the collectors' `rollout` probe. */
export interface DesiredRollout {
  readonly canary: string;
  /** Percentage of user requests routed to the canary slice. */
  readonly weight: number;
  readonly phase: string;
}

export const HEALTHY_GATEWAY: DesiredGateway = { version: STABLE_VERSION, errorRatio: 0, slowMs: 0, state: "up" };
export const HEALTHY_FLEET: DesiredFleet = { dead: [], cut: [], clockOffsetMs: {}, laneDepth: null };

/**
 * Reads a desired-state file. Returns the fallback while it does not exist. Invalid JSON is an error, because commands write
 * whole files.
 */
export function readDesiredState<T extends object>(path: string, fallback: T): T {
  try {
    return { ...fallback, ...(JSON.parse(readFileSync(path, "utf8")) as Partial<T>) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return fallback;
    throw new Error(`cannot read ${path}: delete it, or run \`aviary fleet heal\``, { cause: error });
  }
}

export const readDesiredGateway = (plan: FleetPlan, name: string): DesiredGateway =>
  readDesiredState(paths.gatewayControl(plan, name), { ...HEALTHY_GATEWAY, version: plan.stableVersion });
export const readDesiredFleet = (plan: FleetPlan): DesiredFleet => readDesiredState(paths.fleetControl(plan), HEALTHY_FLEET);
export const readDesiredRollout = (plan: FleetPlan): DesiredRollout =>
  readDesiredState(paths.rollout(plan), { canary: plan.canary, weight: 0, phase: "Initialized" });

export function changeGateway(plan: FleetPlan, name: string, change: Partial<DesiredGateway>): void {
  writeJson(paths.gatewayControl(plan, name), { ...readDesiredGateway(plan, name), ...change });
}

export function changeFleet(plan: FleetPlan, change: Partial<DesiredFleet>): void {
  writeJson(paths.fleetControl(plan), { ...readDesiredFleet(plan), ...change });
}

export function changeRollout(plan: FleetPlan, change: Partial<DesiredRollout>): void {
  writeJson(paths.rollout(plan), { ...readDesiredRollout(plan), ...change });
}

/** How often a desired-state file is polled. */
export const POLL_INTERVAL_MS = 200;

/**
 * Calls `onChange` now and after every change of the file. A failed read goes to stderr, and the next change is read again.
 * @returns a function that stops watching
 */
export function watchDesiredState<T>(path: string, read: () => T, onChange: (value: T) => void): () => void {
  let lastVersion = "";
  const poll = (): void => {
    // Taken before the read, so that the next poll detects a change during the read.
    const version = fileVersion(path);
    if (version === lastVersion) return;
    lastVersion = version;
    try {
      onChange(read());
    } catch (error) {
      process.stderr.write(`${(error as Error).message}\n`);
    }
  };
  poll();
  const timer = setInterval(poll, POLL_INTERVAL_MS);
  return () => clearInterval(timer);
}

/** Changes whenever the file is replaced, because an atomic write creates a new inode. */
function fileVersion(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? "absent" : `${stat.ino}:${stat.mtimeMs}:${stat.size}`;
}
