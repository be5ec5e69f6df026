/**
 * Caller roles: at most one controller class per canary and purpose.
 *
 * A canary has two roles: `judge` for the controller that shifts its traffic (Flagger or Argo Rollouts), and `scale` for the
 * one that scales its lanes (KEDA). The first class to call holds the role until it has made no call for a minute. Another
 * class gets the same verdict, marked `caller_conflict`. There are two roles, because KEDA next to Flagger is normal. Operators
 * hold no role, because their calls only read answers.
 */
import type { CallerClass } from "@aviary/shared/contract/fleet.ts";

export type CallerRole = "judge" | "scale";

/** How long a holder keeps its role without a call, milliseconds. */
export const ROLE_TIMEOUT_MS = 60_000;

export interface CallerRoles {
  /** Records a call, and returns the class that holds the role if it is another one. `nowMs` is monotonic. */
  claim(canary: string, role: CallerRole, caller: CallerClass, nowMs: number): CallerClass | undefined;
}

/** The classes that may hold a role. */
const ELIGIBLE: Readonly<Record<CallerRole, readonly CallerClass[]>> = { judge: ["flagger", "rollouts"], scale: ["keda"] };

/** Creates the roles of all canaries. Keys come from the fleet file, so their number is bounded. */
export function createCallerRoles(): CallerRoles {
  const holders = new Map<string, { caller: CallerClass; atMs: number }>();
  return {
    claim(canary, role, caller, nowMs) {
      if (caller === "operator") return undefined;
      const key = `${role} ${canary}`;
      const holder = holders.get(key);
      const isFree = holder === undefined || nowMs - holder.atMs >= ROLE_TIMEOUT_MS;
      if (!isFree && holder.caller !== caller) return holder.caller;
      if (!ELIGIBLE[role].includes(caller)) return undefined;
      if (holder === undefined) holders.set(key, { caller, atMs: nowMs });
      else Object.assign(holder, { caller, atMs: nowMs });
      return undefined;
    },
  };
}
