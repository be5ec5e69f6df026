/**
 * The demand queue of one lane: KEDA reads `num_pending + num_ack_pending` of its durable, so the gated depth is the number of
 * messages waiting there. Raising publishes, lowering takes and acknowledges; purging would corrupt `num_pending` on old servers.
 */
import type { Bus } from "@aviary/shared/bus/bus.ts";
import { demandDurable } from "@aviary/shared/bus/streams.ts";
import { demandSubject } from "@aviary/shared/contract/subjects.ts";
import { mustStillLead } from "@aviary/shared/runtime/lease.ts";

/** Consecutive rounds without progress before the rest is left to the next tick of the lane. */
const MAX_IDLE_ROUNDS = 5;
const TAKE_AT_ONCE = 500;
const PUBLISH_AT_ONCE = 1_000;
/** The maximum demand of one lane; KEDA's own replica limit is far below what this would request. */
export const MAX_DEMAND = 100_000;

/**
 * Adjusts the durable of a lane to `depth` pending messages, at most `MAX_DEMAND`. The consumer's actual state is read first and
 * again after each change, which repairs the partial change of an evaluator that crashed.
 * @param mayPerform checked before every change
 * @returns the resulting pending count
 * @throws Retryable `not_leading` if it may no longer be performed
 */
export async function setDemand(bus: Bus, lane: string, depth: number, mayPerform: () => boolean): Promise<number> {
  const wanted = Math.min(depth, MAX_DEMAND);
  let pending = await pendingOf(bus, lane);
  for (let idle = 0; pending !== wanted && idle < MAX_IDLE_ROUNDS; ) {
    mustStillLead(mayPerform, `setting the demand of lane ${lane}`);
    if (pending < wanted) await raise(bus, lane, Math.min(wanted - pending, PUBLISH_AT_ONCE));
    else await lower(bus, lane, Math.min(pending - wanted, TAKE_AT_ONCE));
    const now = await pendingOf(bus, lane);
    idle = now === pending ? idle + 1 : 0;
    pending = now;
  }
  return pending;
}

async function pendingOf(bus: Bus, lane: string): Promise<number> {
  const state = await bus.durableState("DEMAND", lane);
  return state.pending + state.ackPending;
}

async function raise(bus: Bus, lane: string, by: number): Promise<void> {
  await Promise.all(Array.from({ length: by }, () => bus.publish({ subject: demandSubject(lane), data: "" })));
}

async function lower(bus: Bus, lane: string, by: number): Promise<void> {
  const taken = await bus.take("DEMAND", lane, by, 1_000);
  await Promise.all(taken.map((delivery) => delivery.ack()));
}

/** Creates the durable of a lane before any ScaledObject uses it: without it, KEDA scales on the length of the whole stream. */
export async function ensureDemand(bus: Bus, lane: string): Promise<void> {
  const { stream, name, filter, ackWaitMs } = demandDurable(lane);
  await bus.ensureDurable({ stream, name, filter, ackWaitMs });
}
