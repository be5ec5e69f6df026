/** Agreement within a slice: whether its gateways run the same release, and which one differs. */
import { type Reason, type ReasonCode, reasonText } from "@aviary/shared/contract/reasons.ts";
import { type Release, sameRelease } from "@aviary/shared/contract/run.ts";
import type { GatewayState } from "./gateway.ts";
import type { KnownRelease } from "./known-facts.ts";

const PARTS = [
  { part: "gateway_version", code: "version_skew", noun: "version" },
  { part: "skill_hash", code: "skill_skew", noun: "skills" },
  { part: "fragment_hash", code: "fragment_skew", noun: "fragments" },
] as const satisfies readonly { part: keyof Release; code: ReasonCode; noun: string }[];

const short = (value: string | null): string =>
  value === null ? "unknown" : /^[0-9a-f]{64}$/.test(value) ? value.slice(0, 12) : value;

/**
 * Whether two releases agree in every part that is known of both; a collector that has just started does not report all parts
 * yet.
 */
export function couldBeSame(a: Release, b: Release): boolean {
  return PARTS.every(({ part }) => a[part] === b[part] || a[part] === null || b[part] === null);
}

/** Whether both releases are known, and equal. */
export function isKnownSame(a: Release | null, b: Release | null): boolean {
  return a !== null && b !== null && sameRelease(a, b);
}

/**
 * The common release of all these gateways; `null` if there are none, they differ, one has never reported, or a part of one is
 * stale.
 */
export function agreedRelease(releases: readonly GatewayRelease[]): Release | null {
  let agreed: Release | null = null;
  for (const { gateway, release: known } of releases) {
    const { isOutdated, ...release } = known;
    if (gateway.claimed === null || isOutdated) return null;
    if (agreed !== null && !sameRelease(agreed, release)) return null;
    agreed ??= release;
  }
  return agreed;
}

/** A gateway and its release as known at one instant. */
export interface GatewayRelease {
  readonly gateway: GatewayState;
  readonly release: KnownRelease;
}

/** One reason per part of the release in which the slice disagrees; it names a gateway of the smallest group. */
export function skewReasons(releases: readonly GatewayRelease[], slice: string): Reason[] {
  const reasons: Reason[] = [];
  const known = releases.filter(({ gateway }) => gateway.claimed !== null);
  for (const { part, code, noun } of PARTS) {
    const groups = new Map<string | null, GatewayState[]>();
    for (const { gateway, release } of known) {
      const value = release[part];
      const group = groups.get(value);
      if (group) group.push(gateway);
      else groups.set(value, [gateway]);
    }
    if (groups.size < 2) continue;
    const bySize = [...groups].sort((a, b) => a[1].length - b[1].length || (String(a[0]) < String(b[0]) ? -1 : 1));
    const [value, group] = bySize[0]!;
    const [common, others] = bySize[bySize.length - 1]!;
    const odd = group[0]!;
    reasons.push({
      code,
      az: odd.az,
      gateway: odd.name,
      text: reasonText(
        `${slice} slice disagrees on ${noun}: ${short(value)} on ${odd.name} (${odd.az}), ${short(common)} on ${others.length} of ${known.length}`,
      ),
    });
  }
  return reasons;
}

/** `2026.9.6, skills 9f2a01bc33de` */
export function releaseText(release: Release): string {
  return `${release.gateway_version ?? "unknown version"}, skills ${short(release.skill_hash)}`;
}
