/** The known facts about a gateway at one instant: the newest report of each kind, while it is current. Null means unknown. */
import type { Release } from "@aviary/shared/contract/run.ts";
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import { type AgePolicy, isCurrent } from "./freshness.ts";
import type { GatewayState } from "./gateway.ts";

export interface KnownFacts {
  readonly health: SignalBody<"health"> | null;
  readonly disk: SignalBody<"disk"> | null;
  readonly doctor: SignalBody<"doctor"> | null;
  readonly deps: SignalBody<"deps"> | null;
  readonly release: KnownRelease;
}

export interface KnownRelease extends Release {
  /** Whether a part was reported and its report is stale. */
  readonly isOutdated: boolean;
}

export function knownFacts(gateway: GatewayState, policy: AgePolicy, atMs: number): KnownFacts {
  const ifCurrent = <T>(kind: "health" | "disk" | "doctor" | "deps", body: T | null): T | null =>
    body !== null && isCurrent(gateway, kind, policy, atMs) ? body : null;
  return {
    health: ifCurrent("health", gateway.health),
    disk: ifCurrent("disk", gateway.disk),
    doctor: ifCurrent("doctor", gateway.doctor),
    deps: ifCurrent("deps", gateway.deps),
    release: knownRelease(gateway, policy, atMs),
  };
}

/**
 * The release of a gateway. Every signal repeats its parts, so each part has the age of the kind that reads it: `skills` for the
 * pack hash, `health` for the version. The fragment hash belongs to the collector itself and also has the age of `health`.
 */
export function knownRelease(gateway: GatewayState, policy: AgePolicy, atMs: number): KnownRelease {
  const { gateway_version, skill_hash, fragment_hash } = gateway.release;
  const isAlive = isCurrent(gateway, "health", policy, atMs);
  const hasSkills = isCurrent(gateway, "skills", policy, atMs);
  return {
    gateway_version: isAlive ? gateway_version : null,
    skill_hash: hasSkills ? skill_hash : null,
    fragment_hash: isAlive ? fragment_hash : null,
    isOutdated: (!isAlive && (gateway_version !== null || fragment_hash !== null)) || (!hasSkills && skill_hash !== null),
  };
}
