/** The fleet file and the policies, indexed for lookups. Constant while a reducer runs. */
import {
  type CanaryEntry,
  type FleetFile,
  type GatewayEntry,
  JUDGING_CLASSES,
  type JudgingClass,
  type LaneEntry,
} from "@aviary/shared/contract/fleet.ts";
import { contentId } from "@aviary/shared/contract/ids.ts";
import { defaultPolicy, hashedPolicy, type Policy } from "@aviary/shared/contract/policy.ts";
import { type CanaryRef, canaryKey, parseCanaryKey } from "@aviary/shared/contract/subjects.ts";

export interface CanaryConfig {
  readonly key: string;
  readonly ref: CanaryRef;
  readonly fleet: string;
  readonly policy: Policy;
  /** Keys of the fleet's gateways, in file order. */
  readonly gateways: readonly string[];
  readonly hasStable: boolean;
  readonly lanes: readonly string[];
  /** The lane whose depth the verdict contains: the first canary lane, otherwise the first. */
  readonly lane: string | undefined;
  /** Whether a judging caller is configured (Flagger, Argo Rollouts); otherwise observation opens runs, and passes end them. */
  readonly hasJudge: boolean;
  /** The configured judging caller; undefined if the first one that names a run judges it. */
  readonly judge: JudgingClass | undefined;
  /** The measurement interval of each judging class. */
  readonly intervalMs: Readonly<Record<JudgingClass, number>>;
  /** The minimum weight assumed after a granted increase, in percent: the first of `steps`. */
  readonly firstStep: number;
  /** Identifies everything in the files that can change a verdict of this canary; 16 hex digits. */
  readonly configHash: string;
}

export interface GatewayConfig extends GatewayEntry {
  readonly key: string;
  readonly fleet: string;
}

export interface LaneConfig extends LaneEntry {
  readonly name: string;
  /** Key of the canary that owns the lane; lanes without one are not updated. */
  readonly canary: string;
}

export interface ResolvedConfig {
  readonly policyHash: string;
  readonly gateways: ReadonlyMap<string, GatewayConfig>;
  readonly canaries: ReadonlyMap<string, CanaryConfig>;
  readonly lanes: ReadonlyMap<string, LaneConfig>;
  /** Canary keys of each fleet. */
  readonly canariesOfFleet: ReadonlyMap<string, readonly string[]>;
  /** Their policies, in the same order. */
  readonly policiesOfFleet: ReadonlyMap<string, readonly Policy[]>;
}

/** `<az>.<fleet>.<gateway>`: the middle of the gateway's signal subjects. */
export function gatewayKey(az: string, fleet: string, gateway: string): string {
  return `${az}.${fleet}.${gateway}`;
}

const DEFAULT_INTERVAL_MS = 60_000;
/** A granted increase of unknown size: any traffic is more than none. */
const UNKNOWN_STEP = 1;

/**
 * Indexes a validated fleet file.
 * @param policies one per canary key of the file
 * @throws RangeError if a canary has no policy: the loader has already reported it with its line, so here it is a programming error
 */
export function resolveConfig(fleet: FleetFile, policies: ReadonlyMap<string, Policy>, policyHash: string): ResolvedConfig {
  const gateways = new Map<string, GatewayConfig>();
  for (const [fleetName, entry] of Object.entries(fleet.fleets)) {
    for (const gateway of entry.gateways) {
      const key = gatewayKey(gateway.az, fleetName, gateway.name);
      gateways.set(key, { ...gateway, key, fleet: fleetName });
    }
  }
  const canaries = new Map<string, CanaryConfig>();
  const lanes = new Map<string, LaneConfig>();
  const canariesOfFleet = new Map<string, string[]>();
  for (const [name, entry] of Object.entries(fleet.canaries)) {
    const ref = parseCanaryKey(name);
    const policy = policies.get(name);
    if (ref === undefined || policy === undefined) throw new RangeError(`canary ${name} has no policy`);
    const key = canaryKey(ref);
    const own = [...gateways.values()].filter((gateway) => gateway.fleet === entry.fleet);
    for (const laneName of entry.lanes) {
      const lane = fleet.lanes[laneName];
      if (lane !== undefined) lanes.set(laneName, { ...lane, name: laneName, canary: key });
    }
    const canaryLanes = Object.fromEntries(entry.lanes.map((laneName) => [laneName, fleet.lanes[laneName]]));
    canaries.set(key, {
      key,
      ref,
      fleet: entry.fleet,
      configHash: contentId([key, entryForHash(entry), settingsForHash(policy), own, canaryLanes]),
      policy,
      gateways: own.map((gateway) => gateway.key),
      hasStable: own.some((gateway) => gateway.slice === "stable"),
      lanes: entry.lanes,
      lane: entry.lanes.find((laneName) => fleet.lanes[laneName]?.slice === "canary") ?? entry.lanes[0],
      hasJudge: entry.judge !== undefined || JUDGING_CLASSES.some((caller) => entry.callers[caller] !== undefined),
      judge: entry.judge,
      intervalMs: {
        flagger: entry.callers.flagger?.interval ?? DEFAULT_INTERVAL_MS,
        rollouts: entry.callers.rollouts?.interval ?? DEFAULT_INTERVAL_MS,
      },
      firstStep: entry.steps[0] ?? UNKNOWN_STEP,
    });
    const sameFleet = canariesOfFleet.get(entry.fleet);
    if (sameFleet) sameFleet.push(key);
    else canariesOfFleet.set(entry.fleet, [key]);
  }
  const policiesOfFleet = new Map(
    Array.from(canariesOfFleet, ([fleetName, keys]) => [fleetName, keys.map((key) => canaries.get(key)!.policy)]),
  );
  return { policyHash, gateways, canaries, lanes, canariesOfFleet, policiesOfFleet };
}

/** A canary's entry without settings that later versions added, where they have their default. */
function entryForHash({ steps, callers, ...entry }: CanaryEntry): object {
  const { flagger, ...others } = callers;
  if (flagger === undefined) return { ...entry, ...(steps.length === 0 ? {} : { steps }), callers };
  const { gates, strategy, ...settings } = flagger;
  const added = { ...(gates ? { gates } : {}), ...(strategy === "weighted" ? {} : { strategy }) };
  return { ...entry, ...(steps.length === 0 ? {} : { steps }), callers: { ...others, flagger: { ...settings, ...added } } };
}

/** The settings of a policy that are not the default: a version with one more setting leaves the hash of older files as it was. */
function settingsForHash(policy: Policy): Partial<Policy> {
  const defaults = hashedPolicy(defaultPolicy()) as Readonly<Record<string, unknown>>;
  const isChanged = ([name, value]: [string, unknown]) => JSON.stringify(value) !== JSON.stringify(defaults[name]);
  return Object.fromEntries(Object.entries(hashedPolicy(policy)).filter(isChanged));
}
