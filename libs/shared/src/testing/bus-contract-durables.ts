/** The bus contract for durables: the demand that KEDA reads, and acknowledged deliveries. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Bus, Delivery } from "../bus/bus.ts";
import { faultCode } from "../runtime/faults.ts";
import { until } from "./until.ts";

/** The depths KEDA's scaler was verified with: up, down, to zero, and up again. */
export const DEMAND_DEPTHS = [20, 12, 30, 0, 5, 100, 3, 0, 8] as const;

const textOf = (delivery: Delivery | undefined): string | undefined =>
  delivery === undefined ? undefined : Buffer.from(delivery.data).toString();

/**
 * Adjusts the demand of a lane to `depth` as the evaluator does: reads the actual state, publishes what is missing, takes and
 * acknowledges the excess. `id` identifies the decision. Returns the resulting depth.
 */
export async function adjustDemand(bus: Bus, lane: string, depth: number, id: string): Promise<number> {
  const { pending, ackPending } = await bus.durableState("DEMAND", lane);
  const before = pending + ackPending;
  const missing = Math.max(depth - before, 0);
  await Promise.all(
    Array.from({ length: missing }, (_, index) =>
      bus.publish({ subject: `demand.${lane}`, data: "", id: `${lane}-${id}-${index}` }),
    ),
  );
  let surplus = Math.max(before - depth, 0);
  while (surplus > 0) {
    const taken = await bus.take("DEMAND", lane, surplus, 1000);
    if (taken.length === 0) break;
    await Promise.all(taken.map((delivery) => delivery.ack()));
    surplus -= taken.length;
  }
  return depth + surplus;
}

/** Registers the tests. */
export function durableContract(bus: () => Bus): void {
  async function durable(lane: string, ackWaitMs = 60_000, maxDeliver?: number): Promise<string> {
    await bus().ensureDurable({
      stream: "DEMAND",
      name: lane,
      filter: `demand.${lane}`,
      ackWaitMs,
      ...(maxDeliver === undefined ? {} : { maxDeliver }),
    });
    return lane;
  }
  const add = (lane: string, ...bodies: string[]): Promise<unknown> =>
    Promise.all(bodies.map((data) => bus().publish({ subject: `demand.${lane}`, data })));
  const take = (lane: string, max: number, waitMs = 0): Promise<Delivery[]> => bus().take("DEMAND", lane, max, waitMs);

  test(`demand follows ${DEMAND_DEPTHS.join(", ")} exactly`, async () => {
    const lane = await durable("keda");
    const other = await durable("keda-other");
    await add(other, "1", "2");
    for (const [round, depth] of DEMAND_DEPTHS.entries()) {
      assert.equal(await adjustDemand(bus(), lane, depth, `round-${round}`), depth);
      const state = () => bus().durableState("DEMAND", lane);
      // A current server notifies its consumers of new messages a moment after acknowledging them.
      await until(`${depth} are pending`, async () => (await state()).pending === depth);
      assert.deepEqual(await state(), { pending: depth, ackPending: 0 });
    }
    assert.deepEqual(await bus().durableState("DEMAND", other), { pending: 2, ackPending: 0 });
  });

  test("take returns the available messages without waiting for more", async () => {
    const lane = await durable("take");
    await add(lane, "1", "2", "3");
    assert.deepEqual((await take(lane, 2)).map(textOf), ["1", "2"]);
    assert.deepEqual(await bus().durableState("DEMAND", lane), { pending: 1, ackPending: 2 });
    assert.deepEqual((await take(lane, 10, 60_000)).map(textOf), ["3"]);
    assert.deepEqual(await take(lane, 10), []);
    assert.deepEqual(await take(lane, 10, 50), []);
  });

  test("take waits for the first message", async () => {
    const lane = await durable("wait");
    const taking = take(lane, 10, 60_000);
    await bus().durableState("DEMAND", lane);
    await add(lane, "1");
    const [delivery] = await taking;
    assert.equal(textOf(delivery), "1");
    assert.equal(delivery?.deliveryCount, 1);
    assert.equal(delivery?.subject, "demand.wait");
  });

  test("an acknowledged message is removed, a retried one is redelivered, a rejected one is not", async () => {
    const lane = await durable("answers");
    await add(lane, "ack", "retry", "reject");
    const [first, second, third] = await take(lane, 3);
    await first?.ack();
    await second?.retry(0);
    await third?.reject("invalid message");
    const [again, ...rest] = await take(lane, 10, 60_000);
    assert.deepEqual([textOf(again), again?.deliveryCount, rest.length], ["retry", 2, 0]);
    assert.equal(again?.sequence, second?.sequence);
    await again?.ack();
    assert.deepEqual(await bus().durableState("DEMAND", lane), { pending: 0, ackPending: 0 });
    assert.deepEqual(await take(lane, 10), []);
  });

  test("an unacknowledged message is redelivered after the ack wait, a delayed one after its delay", async () => {
    const lane = await durable("silence", 1000);
    await add(lane, "silent");
    assert.equal((await take(lane, 1)).length, 1);
    const [again] = await take(lane, 1, 60_000);
    assert.deepEqual([textOf(again), again?.deliveryCount], ["silent", 2]);
    await again?.retry(100);
    const [third] = await take(lane, 1, 60_000);
    assert.deepEqual([textOf(third), third?.deliveryCount], ["silent", 3]);
    await third?.ack();
    assert.deepEqual(await bus().durableState("DEMAND", lane), { pending: 0, ackPending: 0 });
  });

  test("a message is delivered no more often than allowed", async () => {
    const lane = await durable("limit", 60_000, 2);
    await add(lane, "1");
    for (const count of [1, 2]) {
      const [delivery] = await take(lane, 1, 60_000);
      assert.equal(delivery?.deliveryCount, count);
      await delivery?.retry(0);
    }
    assert.deepEqual(await take(lane, 1, 100), []);
  });

  test("a durable of a log keeps its position, and the log keeps its messages", async () => {
    const subject = "incidents.contract.durable.test";
    await bus().ensureDurable({ stream: "INCIDENTS", name: "contract", filter: "incidents.contract.>", ackWaitMs: 60_000 });
    for (const data of ["1", "2", "3"]) await bus().publish({ subject, data });
    const before = await bus().streamState("INCIDENTS");
    for (const delivery of await bus().take("INCIDENTS", "contract", 2, 1000)) await delivery.ack();
    await bus().ensureDurable({ stream: "INCIDENTS", name: "contract", filter: "incidents.contract.>", ackWaitMs: 90_000 });
    assert.deepEqual((await bus().take("INCIDENTS", "contract", 10, 1000)).map(textOf), ["3"]);
    assert.deepEqual(await bus().streamState("INCIDENTS"), before);
  });

  test("two durables cannot consume the same subject of a work queue", async () => {
    await durable("single");
    const rival = bus().ensureDurable({ stream: "DEMAND", name: "rival", filter: "demand.single", ackWaitMs: 1000 });
    await assert.rejects(rival, (error) => faultCode(error) === "broker_refused");
  });

  test("a missing durable is reported as missing", async () => {
    await assert.rejects(bus().durableState("DEMAND", "nobody"), (error) => faultCode(error) === "durable_missing");
    await assert.rejects(bus().take("DEMAND", "nobody", 1, 0), (error) => faultCode(error) === "durable_missing");
  });

  test("creating a durable again keeps its pending messages", async () => {
    const lane = await durable("again");
    await add(lane, "1", "2");
    await durable("again", 30_000);
    await until("both are pending", async () => (await bus().durableState("DEMAND", lane)).pending === 2);
    assert.deepEqual((await take(lane, 10)).map(textOf), ["1", "2"]);
  });
}
