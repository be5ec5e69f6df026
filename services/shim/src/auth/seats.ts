/**
 * Seats: at most one controller class per canary and purpose.
 *
 * A canary has two seats: `judge` for the controller that shifts its traffic (Flagger or Argo Rollouts), and `scale` for the one that scales
 * its lanes (KEDA). The first class to call holds the seat until it has made no call for a minute. Another class gets the same verdict,
 * marked `caller_conflict`.
 * There are two seats because KEDA beside Flagger is normal. Operators hold no seat: their calls only compare answers.
 */
import type { CallerClass } from "@aviary/shared/contract/fleet.ts";

export type Seat = "judge" | "scale";

/** How long a holder keeps its seat without a call, milliseconds. */
export const SEAT_TIMEOUT_MS = 60_000;

export interface Seats {
  /** Records a call, and returns the class that holds the seat if it is another one. `nowMs` is monotonic. */
  claim(canary: string, seat: Seat, caller: CallerClass, nowMs: number): CallerClass | undefined;
}

/** The classes that may hold a seat. */
const ELIGIBLE: Readonly<Record<Seat, readonly CallerClass[]>> = { judge: ["flagger", "rollouts"], scale: ["keda"] };

/** Creates the seats of all canaries. Keys come from the fleet file, so their number is bounded. */
export function createSeats(): Seats {
  const holders = new Map<string, { caller: CallerClass; atMs: number }>();
  return {
    claim(canary, seat, caller, nowMs) {
      if (caller === "operator") return undefined;
      const key = `${seat} ${canary}`;
      const holder = holders.get(key);
      const isFree = holder === undefined || nowMs - holder.atMs >= SEAT_TIMEOUT_MS;
      if (!isFree && holder.caller !== caller) return holder.caller;
      if (!ELIGIBLE[seat].includes(caller)) return undefined;
      if (holder === undefined) holders.set(key, { caller, atMs: nowMs });
      else Object.assign(holder, { caller, atMs: nowMs });
      return undefined;
    },
  };
}
