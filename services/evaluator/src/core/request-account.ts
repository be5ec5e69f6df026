/**
 * The account of the requests that one gateway reported in one window: each request was merged, or left out for a stated reason.
 * Evidence that is left out without a word makes a faulty canary look healthy.
 */

import type { Slice } from "@aviary/shared/contract/run.ts";
import { EXCLUSIONS, type Exclusion, type SliceAccount } from "@aviary/shared/contract/window.ts";
import { type CoveredTime, createCoveredTime } from "./covered-time.ts";

/** Real traffic and synthetic requests are accounted for apart, because a policy selects between them. */
export type TrafficKind = "http" | "synthetic";

export interface RequestAccount {
  merged: number;
  readonly excluded: Record<Exclusion, number>;
  /** The part of `excluded.warming` that the warm-up of the run explains: it is planned, and no fault of a gateway. */
  plannedWarming: number;
  /** Event time of the merged signals. */
  readonly covered: CoveredTime;
}

export interface GatewayAccount {
  readonly slice: Slice;
  readonly http: RequestAccount;
  readonly synthetic: RequestAccount;
}

export function createGatewayAccount(slice: Slice): GatewayAccount {
  return { slice, http: createAccount(), synthetic: createAccount() };
}

function createAccount(): RequestAccount {
  const excluded = Object.fromEntries(EXCLUSIONS.map((why) => [why, 0])) as Record<Exclusion, number>;
  return { merged: 0, excluded, plannedWarming: 0, covered: createCoveredTime() };
}

/** The traffic that counts under a policy's `traffic`. */
export function selectedKinds(traffic: "real" | "synthetic" | "both"): readonly TrafficKind[] {
  return traffic === "both" ? ["http", "synthetic"] : [traffic === "real" ? "http" : "synthetic"];
}

/** Requests of one slice: all that were reported, and the part that was left out. */
export interface SliceRequests {
  merged: number;
  readonly excluded: Record<Exclusion, number>;
  plannedWarming: number;
}

/** Sums the accounts of one slice over its gateways and the selected kinds of traffic. */
export function requestsOfSlice(accounts: Iterable<GatewayAccount>, slice: Slice, kinds: readonly TrafficKind[]): SliceRequests {
  const { merged, excluded, plannedWarming } = createAccount();
  const sum: SliceRequests = { merged, excluded, plannedWarming };
  for (const account of accounts) {
    if (account.slice !== slice) continue;
    for (const kind of kinds) {
      const part = account[kind];
      sum.merged += part.merged;
      sum.plannedWarming += part.plannedWarming;
      for (const why of EXCLUSIONS) sum.excluded[why] += part.excluded[why];
    }
  }
  return sum;
}

export const excludedSum = ({ excluded }: SliceRequests): number => EXCLUSIONS.reduce((sum, why) => sum + excluded[why], 0);

/** The account of one slice as a verdict record contains it. */
export function sliceAccount(slice: Slice, requests: SliceRequests): SliceAccount {
  const named = EXCLUSIONS.filter((why) => requests.excluded[why] > 0).map((why) => [why, requests.excluded[why]]);
  return {
    slice,
    seen: requests.merged + excludedSum(requests),
    merged: requests.merged,
    excluded: Object.fromEntries(named),
  };
}
