/**
 * The demand queue of one lane: KEDA reads `num_pending + num_ack_pending` of its durable, so the gated depth is told by how many
 * messages wait there. Raising publishes, lowering takes and acknowledges; purging would break `num_pending` on old servers.
 */
import type { Bus } from "@aviary/shared/bus/bus.ts";
import { demandDurable } from "@aviary/shared/bus/streams.ts";
import { demandSubject } from "@aviary/shared/contract/subjects.ts";

const MAX_ROUNDS = 5;
const TAKE_AT_ONCE = 200;

/**
 * Brings the durable of a lane to `depth` pending messages. The consumer's real state is read first and again after each change, so
 * a half-done change of an evaluator that died is repaired.
 * @returns the pending count that was reached
 */
export async function setDemand(bus: Bus, lane: string, depth: number): Promise<number> {
  let pending = 0;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const state = await bus.durableState("DEMAND", lane);
    pending = state.pending + state.ackPending;
    if (pending === depth) return pending;
    if (pending < depth) {
      const missing = Array.from({ length: depth - pending }, () => bus.publish({ subject: demandSubject(lane), data: "" }));
      await Promise.all(missing);
    } else {
      const taken = await bus.take("DEMAND", lane, Math.min(pending - depth, TAKE_AT_ONCE), 1_000);
      await Promise.all(taken.map((delivery) => delivery.ack()));
    }
  }
  return pending;
}

/** Creates the durable of a lane. It exists before any ScaledObject does: without it KEDA scales on the stream's whole history. */
export async function ensureDemand(bus: Bus, lane: string): Promise<void> {
  const { stream, name, filter, ackWaitMs } = demandDurable(lane);
  await bus.ensureDurable({ stream, name, filter, ackWaitMs });
}
