/** Control messages while the broker stores nothing. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Bus } from "@aviary/shared/bus/bus.ts";
import type { ControlContent } from "@aviary/shared/contract/control.ts";
import { silentLogger } from "@aviary/shared/runtime/logger.ts";
import { aFleet } from "@aviary/shared/testing/builders.ts";
import { manualClock } from "@aviary/shared/testing/manual-clock.ts";
import { passTime } from "@aviary/shared/testing/pass-time.ts";
import { createControlWriter } from "../src/control-writer.ts";
import { LIMITS } from "../src/limits.ts";
import type { Canary } from "../src/view.ts";

const KEY = "prod/payments-gateway";
const canary: Canary = {
  ref: { namespace: "prod", name: "payments-gateway" },
  key: KEY,
  entry: aFleet().canaries[KEY]!,
  policy: undefined,
};

function startWriter() {
  const clock = manualClock(Date.parse("2026-11-21T10:00:00.000Z"));
  const broker = { isUp: true, stored: [] as { verb: string; weight?: number }[] };
  const publish = (message: { readonly data: string | Uint8Array }) => {
    if (!broker.isUp) return Promise.reject(new Error("no broker"));
    broker.stored.push(JSON.parse(String(message.data)));
    return Promise.resolve({ sequence: broker.stored.length, duplicate: false });
  };
  const writer = createControlWriter({ publish } as unknown as Bus, clock, silentLogger);
  const report = (weight: number) =>
    writer.store(canary, [{ content: { verb: "weight", caller: "flagger", weight }, discriminator: String(weight) }]);
  return { clock, broker, writer, report };
}

test("a controller's reports are stored in order after a broker outage, before later reports", async () => {
  const { clock, broker, writer, report } = startWriter();
  assert.equal(await report(10), "stored");
  broker.isUp = false;
  assert.equal(await report(20), "not_stored");
  assert.equal(await report(30), "not_stored");
  await passTime(clock, 5 * LIMITS.retryStoreMs, 100);
  broker.isUp = true;
  assert.equal(await report(40), "not_stored", "it waits behind the earlier ones");
  await passTime(clock, 2 * LIMITS.retryStoreMs, 100);
  assert.deepEqual(
    broker.stored.map(({ weight }) => weight),
    [10, 20, 30, 40],
  );
  assert.equal(await report(50), "stored");
  writer.stop();
});

test("a gate call that was not stored is not kept, because its caller was rejected and calls again", async () => {
  const { clock, broker, writer } = startWriter();
  broker.isUp = false;
  const content: ControlContent = { verb: "gate", caller: "flagger", gate: "confirm-traffic-increase", allowed: true };
  assert.equal(await writer.store(canary, [{ content, discriminator: "1" }]), "not_stored");
  broker.isUp = true;
  await passTime(clock, 3 * LIMITS.retryStoreMs, 100);
  assert.deepEqual(broker.stored, []);
  assert.equal(await writer.store(canary, [{ content, discriminator: "1" }]), "stored");
  writer.stop();
});

test("beyond the limit of kept messages, the oldest is dropped", async () => {
  const { clock, broker, writer, report } = startWriter();
  broker.isUp = false;
  for (let weight = 0; weight < LIMITS.keptMessages + 3; weight++) {
    // The rate limit refills.
    clock.advance(1_000);
    await report(weight / 10);
  }
  broker.isUp = true;
  await passTime(clock, 2 * LIMITS.retryStoreMs, 100);
  assert.equal(broker.stored.length, LIMITS.keptMessages);
  assert.equal(broker.stored[0]?.weight, 0.3);
  writer.stop();
});
