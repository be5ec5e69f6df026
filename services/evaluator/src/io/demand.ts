/**
 * The demand queue of one lane: KEDA reads `num_pending + num_ack_pending` of its durable, so the gated depth is told by how many
 * messages wait there. Raising publishes, lowering takes and acknowledges; purging would break `num_pending` on old servers.
 */
import type { Bus } from "@aviary/shared/bus/bus.ts";
import { demandDurable } from "@aviary/shared/bus/streams.ts";
import { demandSubject } from "@aviary/shared/contract/subjects.ts";
import { mustStillLead } from "@aviary/shared/runtime/lease.ts";

/** Rounds in a row that may change nothing before the rest is left to the next tick of the lane. */
const MAX_IDLE_ROUNDS = 5;
const TAKE_AT_ONCE = 500;
const PUBLISH_AT_ONCE = 1_000;
/** The most that ever waits for one lane. KEDA's own maximum of replicas lies far below what this asks for. */
export const MAX_DEMAND = 100_000;

/**
 * Brings the durable of a lane to `depth` pending messages, at most `MAX_DEMAND`. The consumer's real state is read first and again after each
 * change, so a half-done change of an evaluator that died is repaired.
 * @param allowed asked before every change
 * @returns the pending count that was reached
 * @throws Retryable `not_leading` when it is not allowed any more
 */
export async function setDemand(bus: Bus, lane: string, depth: number, allowed: () => boolean): Promise<number> {
  const wanted = Math.min(depth, MAX_DEMAND);
  let pending = await pendingOf(bus, lane);
  for (let idle = 0; pending !== wanted && idle < MAX_IDLE_ROUNDS; ) {
    mustStillLead(allowed, `setting the demand of lane ${lane}`);
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

/** Creates the durable of a lane. It exists before any ScaledObject does: without it KEDA scales on the stream's whole history. */
export async function ensureDemand(bus: Bus, lane: string): Promise<void> {
  const { stream, name, filter, ackWaitMs } = demandDurable(lane);
  await bus.ensureDurable({ stream, name, filter, ackWaitMs });
}
