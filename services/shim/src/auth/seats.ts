/**
 * One caller a canary: who holds the seat.
 *
 * A canary has two seats: `judge`, for who moves its traffic (Flagger or Argo Rollouts), and `scale`, for who scales its lanes (KEDA). The class that asks
 * first holds the seat until it has been silent for a minute. Another class that asks meanwhile gets the same verdict, marked `caller_conflict`.
 * Two seats, because KEDA beside Flagger is the normal case and not a mistake. Operators hold no seat: asking beside the controller is the parity check.
 */
import type { CallerClass } from "@aviary/shared/contract/fleet.ts";

export type Seat = "judge" | "scale";

/** How long a silent holder keeps its seat, milliseconds. */
export const SEAT_TIMEOUT_MS = 60_000;

export interface Seats {
  /** Notes that a class asked. Answers the class that holds the seat, if it is another one. `nowMs` is monotonic. */
  claim(canary: string, seat: Seat, caller: CallerClass, nowMs: number): CallerClass | undefined;
}

/** Who a seat is for; another class is answered too, but never holds it. */
const MEANT_FOR: Readonly<Record<Seat, readonly CallerClass[]>> = { judge: ["flagger", "rollouts"], scale: ["keda"] };

/** Seats of the configured canaries; keys come from the fleet file, so their number is bounded. */
export function createSeats(): Seats {
  const held = new Map<string, { caller: CallerClass; atMs: number }>();
  return {
    claim(canary, seat, caller, nowMs) {
      if (caller === "operator") return undefined;
      const key = `${seat} ${canary}`;
      const holder = held.get(key);
      const free = holder === undefined || nowMs - holder.atMs >= SEAT_TIMEOUT_MS;
      if (!free && holder.caller !== caller) return holder.caller;
      if (!MEANT_FOR[seat].includes(caller)) return undefined;
      if (holder === undefined) held.set(key, { caller, atMs: nowMs });
      else Object.assign(holder, { caller, atMs: nowMs });
      return undefined;
    },
  };
}
