/** How a weight becomes shares of requests. */
import type { FleetGateway } from "./layout.ts";

export interface Share {
  readonly gateway: FleetGateway;
  /** How many of `total(shares)` requests go here. Whole numbers, no common divisor, above 0. */
  readonly parts: number;
}

/** How requests are spread at a canary weight of 0 to 100 percent: evenly inside a slice. A slice without gateways gives its share to the other one. */
export function sharesAt(gateways: readonly FleetGateway[], weight: number): Share[] {
  const of = (slice: FleetGateway["slice"]): FleetGateway[] => gateways.filter((gateway) => gateway.slice === slice);
  const [canary, stable] = [of("canary"), of("stable")];
  const percent = canary.length === 0 ? 0 : stable.length === 0 ? 100 : Math.round(Math.min(100, Math.max(0, weight)));
  // Equal parts inside a slice, in the ratio percent : 100 - percent between the slices.
  const shares = [
    ...canary.map((gateway) => ({ gateway, parts: percent * Math.max(1, stable.length) })),
    ...stable.map((gateway) => ({ gateway, parts: (100 - percent) * Math.max(1, canary.length) })),
  ].filter((share) => share.parts > 0);
  const divisor = shares.reduce((value, share) => gcd(value, share.parts), 0);
  return shares.map((share) => ({ gateway: share.gateway, parts: share.parts / divisor }));
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

/** The gateway that a uniform number in [0, 1) selects. */
export function pick(shares: readonly Share[], uniform: number): FleetGateway {
  let left = uniform * shares.reduce((sum, share) => sum + share.parts, 0);
  for (const share of shares) {
    left -= share.parts;
    if (left < 0) return share.gateway;
  }
  return shares.at(-1)!.gateway;
}
