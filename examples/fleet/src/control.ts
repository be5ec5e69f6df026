/**
 * Control files: small JSON files through which a running fleet is told what to do. The verbs write them whole; the parts look for a change
 * a few times a second. Files instead of a socket, because they survive a restart and can be read with `cat`.
 */
import { readFileSync, statSync } from "node:fs";
import { type FleetPlan, places, STABLE_VERSION, writeJson } from "./layout.ts";

/** What one gateway does. */
export interface DesiredGateway {
  /** What `/startupz` says; a change makes the gateway restart its runtime, as a real one does. */
  readonly version: string;
  /** Share of work requests answered with 500. */
  readonly errorRatio: number;
  /** Added to every work request. */
  readonly slowMs: number;
  /** `suppressed`: channels that are not started although the gateway says ready; `channel`: a channel that fails readiness. */
  readonly state: "up" | "draining" | "channel" | "suppressed";
}

/** What the starter does for the fleet. */
export interface DesiredFleet {
  /** Gateways that are killed and stay dead. */
  readonly dead: readonly string[];
  /** AZs whose collectors cannot reach NATS. */
  readonly cut: readonly string[];
  /** Collectors whose clock is wrong, by gateway name, milliseconds. */
  readonly clockOffsetMs: Readonly<Record<string, number>>;
  /** Jobs that the lane's producer keeps in the queue beyond its usual few; null: nothing special. */
  readonly laneDepth: number | null;
}

/** What the load balancer applies. The collectors read the same file (probe `rollout`). */
export interface DesiredRollout {
  readonly canary: string;
  /** Percent of users' requests that go to the canary slice. */
  readonly weight: number;
  readonly phase: string;
}

export const HEALTHY_GATEWAY: DesiredGateway = { version: STABLE_VERSION, errorRatio: 0, slowMs: 0, state: "up" };
export const QUIET_FLEET: DesiredFleet = { dead: [], cut: [], clockOffsetMs: {}, laneDepth: null };

/** Reads a control file; the fallback while it is not there. A file that is no JSON is an error: the verbs write whole files. */
export function readDesiredState<T extends object>(path: string, fallback: T): T {
  try {
    return { ...fallback, ...(JSON.parse(readFileSync(path, "utf8")) as Partial<T>) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return fallback;
    throw new Error(`${path} cannot be read: delete it, or run \`aviary fleet heal\``, { cause: error });
  }
}

export const readGatewayControl = (plan: FleetPlan, name: string): DesiredGateway =>
  readDesiredState(places.gatewayControl(plan, name), { ...HEALTHY_GATEWAY, version: plan.stableVersion });
export const readFleetControl = (plan: FleetPlan): DesiredFleet => readDesiredState(places.fleetControl(plan), QUIET_FLEET);
export const readRollout = (plan: FleetPlan): DesiredRollout =>
  readDesiredState(places.rollout(plan), { canary: plan.canary, weight: 0, phase: "Initialized" });

export function changeGateway(plan: FleetPlan, name: string, change: Partial<DesiredGateway>): void {
  writeJson(places.gatewayControl(plan, name), { ...readGatewayControl(plan, name), ...change });
}

export function changeFleet(plan: FleetPlan, change: Partial<DesiredFleet>): void {
  writeJson(places.fleetControl(plan), { ...readFleetControl(plan), ...change });
}

export function changeRollout(plan: FleetPlan, change: Partial<DesiredRollout>): void {
  writeJson(places.rollout(plan), { ...readRollout(plan), ...change });
}

/** How often a control file is looked at, milliseconds. */
export const POLL_INTERVAL_MS = 200;

/**
 * Calls `onChange` now, and again after every change of the file. A reading that fails is reported, and the next change is read again.
 * @returns a function that stops the watching
 */
export function watchControl<T>(path: string, read: () => T, onChange: (value: T) => void): () => void {
  let seen = "";
  const look = (): void => {
    // The stamp is taken before the reading: a change in between is seen at the next look.
    const stamp = fileVersion(path);
    if (stamp === seen) return;
    seen = stamp;
    try {
      onChange(read());
    } catch (error) {
      process.stderr.write(`${(error as Error).message}\n`);
    }
  };
  look();
  const timer = setInterval(look, POLL_INTERVAL_MS);
  return () => clearInterval(timer);
}

/** Changes whenever the file is replaced: whole-file writes make a new inode. */
function fileVersion(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? "absent" : `${stat.ino}:${stat.mtimeMs}:${stat.size}`;
}
