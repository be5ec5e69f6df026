/** Signals spooled by a killed collector arrive under the ids of its boot, before the signals of the next boot. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "@aviary/shared/testing/until.ts";
import { storedSignals } from "../fleet/records.ts";
import { startTestFleet } from "../fleet/test-fleet.ts";
import { startTraffic } from "../fleet/traffic.ts";

const COLLECTOR = "collector-mac-a1";

test("a collector that is killed while it spools loses no signal", async (t) => {
  const fleet = await startTestFleet(t, { parts: ["evaluator", COLLECTOR] });
  if (fleet === undefined) return;
  const { bus, relay } = fleet;
  const traffic = startTraffic(fleet.plan);
  t.after(() => traffic.stop());
  const ours = async () => (await storedSignals(bus)).filter(({ signal }) => signal.gateway === "mac-a1");
  await until("signals arrive", async () => (await ours()).length >= 5, { pollMs: 50 });
  const onDisk = async (): Promise<number> => (await fleet.metric(COLLECTOR, "aviary_collector_spooled_total")) ?? 0;
  // Before its first connection it spooled signals too.
  const atFirst = await onDisk();
  await relay.cut();
  let spooled = 0;
  await until(
    "thirty signals are on disk",
    async () => {
      spooled = (await onDisk()) - atFirst;
      return spooled >= 30;
    },
    { pollMs: 50 },
  );
  await fleet.kill(COLLECTOR);
  const before = await ours();
  const oldBoot = before[0]?.signal.collector_boot;
  // A second boot without a broker: its own signals are published after those of the first.
  await fleet.start(COLLECTOR);
  await until("the new one spools too", async () => (await onDisk()) >= 5, { pollMs: 50 });
  await relay.heal();
  await until(
    "signals of the new boot arrive",
    async () => (await ours()).filter(({ signal }) => signal.collector_boot !== oldBoot).length >= 10,
    { pollMs: 50 },
  );
  traffic.stop();
  await fleet.stop(COLLECTOR);

  const signals = await ours();
  const boots = [...new Set(signals.map(({ signal }) => signal.collector_boot))];
  assert.equal(boots.length, 2);
  const numbers = (boot: string | undefined): number[] =>
    signals.filter(({ signal }) => signal.collector_boot === boot).map(({ signal }) => signal.seq);
  for (const boot of boots) {
    const got = numbers(boot);
    assert.deepEqual(
      got,
      got.map((_, index) => index + 1),
      "complete, without duplicates, in order",
    );
  }
  // A signal stored just as the connection was cut may also be on disk.
  const arrived = numbers(oldBoot).length;
  assert.ok(arrived >= before.length + spooled - 1, `${before.length} stored, ${spooled} on disk, ${arrived} arrived`);
  const firstOfNew = signals.findIndex(({ signal }) => signal.collector_boot !== oldBoot);
  assert.equal(firstOfNew, numbers(oldBoot).length, "the old boot is published first");
  const verdicts = await fleet.assertMatchesReplay();
  assert.ok(verdicts.every(({ body }) => body.verdict === "hold"));
  fleet.assertNoCrashes();
});
