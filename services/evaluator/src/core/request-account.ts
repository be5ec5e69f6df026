/**
 * The account of the requests that one gateway reported in one window: each request was merged, or excluded for a stated reason.
 * Evidence that is excluded silently makes a faulty canary look healthy.
 */

import type { Slice } from "@aviary/shared/contract/run.ts";
import { EXCLUSIONS, type Exclusion, type SliceAccount } from "@aviary/shared/contract/window.ts";
import { type CoveredTime, createCoveredTime } from "./covered-time.ts";

/** Real traffic and synthetic requests are accounted for separately, because a policy selects between them. */
export type TrafficKind = "http" | "synthetic";

export interface RequestAccount {
  merged: number;
  /** A cause without requests is absent: most gateways leave out nothing, and every checkpoint contains all accounts. */
  readonly excluded: Partial<Record<Exclusion, number>>;
  /** The part of `excluded.warming` that the warm-up of the run explains, which is planned and not caused by a gateway. */
  plannedWarming: number;
  /** Event time of the merged signals. */
  readonly covered: CoveredTime;
}

export interface GatewayAccount {
  readonly slice: Slice;
  http?: RequestAccount;
  synthetic?: RequestAccount;
}

/** The account of one kind of traffic; a new one before its first report. */
export function accountOfKind(account: GatewayAccount, kind: TrafficKind): RequestAccount {
  account[kind] ??= { merged: 0, excluded: {}, plannedWarming: 0, covered: createCoveredTime() };
  return account[kind];
}

export function exclude({ excluded }: RequestAccount, why: Exclusion, requests: number): void {
  if (requests > 0) excluded[why] = (excluded[why] ?? 0) + requests;
}

/** The traffic that counts under a policy's `traffic`. */
export function selectedKinds(traffic: "real" | "synthetic" | "both"): readonly TrafficKind[] {
  return traffic === "both" ? ["http", "synthetic"] : [traffic === "real" ? "http" : "synthetic"];
}

/** Requests of one slice: all that were reported, and the part that was excluded. */
export type SliceRequests = Omit<RequestAccount, "covered">;

/** Sums the accounts of one slice over its gateways and the selected kinds of traffic. */
export function requestsOfSlice(accounts: Iterable<GatewayAccount>, slice: Slice, kinds: readonly TrafficKind[]): SliceRequests {
  const sum: SliceRequests = { merged: 0, excluded: {}, plannedWarming: 0 };
  for (const account of accounts) {
    if (account.slice !== slice) continue;
    for (const kind of kinds) {
      const part = account[kind];
      if (part === undefined) continue;
      sum.merged += part.merged;
      sum.plannedWarming += part.plannedWarming;
      for (const why of EXCLUSIONS) if (part.excluded[why]) sum.excluded[why] = (sum.excluded[why] ?? 0) + part.excluded[why];
    }
  }
  return sum;
}

export const excludedSum = ({ excluded }: SliceRequests): number =>
  EXCLUSIONS.reduce((sum, why) => sum + (excluded[why] ?? 0), 0);

/** The account of one slice as a verdict record contains it. */
export function sliceAccount(slice: Slice, requests: SliceRequests): SliceAccount {
  const { merged, excluded } = requests;
  return { slice, seen: merged + excludedSum(requests), merged, excluded: inOrder(excluded) };
}

/** The causes in the order of the list, so that equal accounts are equal bytes. */
function inOrder(excluded: SliceRequests["excluded"]): SliceAccount["excluded"] {
  return Object.fromEntries(EXCLUSIONS.filter((why) => excluded[why] !== undefined).map((why) => [why, excluded[why]]));
}
