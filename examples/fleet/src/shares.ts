/** Converts a canary weight into request shares. */
import type { FleetGateway } from "./layout.ts";

export interface Share {
  readonly gateway: FleetGateway;
  /** Relative share: a positive integer, without a divisor common to all shares. */
  readonly parts: number;
}

/** Shares at a canary weight of 0 to 100, equal within a slice. A slice without gateways yields its share to the other one. */
export function sharesAt(gateways: readonly FleetGateway[], weight: number): Share[] {
  const gatewaysOf = (slice: FleetGateway["slice"]): FleetGateway[] => gateways.filter((gateway) => gateway.slice === slice);
  const [canary, stable] = [gatewaysOf("canary"), gatewaysOf("stable")];
  const percent = canary.length === 0 ? 0 : stable.length === 0 ? 100 : Math.round(Math.min(100, Math.max(0, weight)));
  // Equal parts within a slice; percent : (100 - percent) between the slices.
  const shares = [
    ...canary.map((gateway) => ({ gateway, parts: percent * Math.max(1, stable.length) })),
    ...stable.map((gateway) => ({ gateway, parts: (100 - percent) * Math.max(1, canary.length) })),
  ].filter((share) => share.parts > 0);
  const divisor = shares.reduce((value, share) => greatestCommonDivisor(value, share.parts), 0);
  return shares.map((share) => ({ gateway: share.gateway, parts: share.parts / divisor }));
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/** The gateway that a uniform number in [0, 1) selects. */
export function pick(shares: readonly Share[], uniform: number): FleetGateway {
  let remaining = uniform * shares.reduce((sum, share) => sum + share.parts, 0);
  for (const share of shares) {
    remaining -= share.parts;
    if (remaining < 0) return share.gateway;
  }
  return shares.at(-1)!.gateway;
}
