/**
 * While the broker is unreachable the verdict is a hold, and afterwards every signal arrives, once and in order. If a spool was
 * too small, exactly the oldest signals are missing, they are counted, and their windows are not judged.
 *
 * A killed broker is down for 16 s; with `CI` set, 60 s.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "@aviary/shared/testing/until.ts";
import { formatVerdicts, type StoredSignal, storedSignals, verdictWhere } from "../fleet/records.ts";
import { shimClient, type TestShimClient } from "../fleet/shim-client.ts";
import { COLLECTORS, startTestFleet } from "../fleet/test-fleet.ts";
import { startTraffic } from "../fleet/traffic.ts";

const OUTAGES = [
  { how: "killed", lastsMs: process.env.CI ? 60_000 : 16_000 },
  // Its connections are not closed: clients must detect the outage themselves.
  { how: "frozen", lastsMs: 16_000 },
] as const;

/** Numbers of one gateway's signals that are missing between its first and its last, and those that occur twice. */
function numbering(signals: readonly StoredSignal[], gateway: string) {
  const numbers = signals.filter(({ signal }) => signal.gateway === gateway).map(({ signal }) => signal.seq);
  const seen = new Set(numbers);
  const highest = Math.max(...numbers);
  const missing = Array.from({ length: highest }, (_, index) => index + 1).filter((number) => !seen.has(number));
  return {
    missing,
    twice: numbers.length - seen.size,
    inOrder: numbers.every((number, index) => number > (numbers[index - 1] ?? 0)),
  };
}

function requestsOf(signals: readonly StoredSignal[], gateway: string): number {
  return signals.reduce(
    (sum, { signal }) => sum + (signal.gateway === gateway && signal.kind === "http" ? signal.body.requests : 0),
    0,
  );
}

for (const { how, lastsMs } of OUTAGES) {
  test(`signals survive a broker that is ${how}`, async (t) => {
    const fleet = await startTestFleet(t, { parts: ["evaluator", "shim", ...COLLECTORS], spoolBytes: { "mac-a2": "64KiB" } });
    if (fleet === undefined) return;
    const { bus } = fleet;
    const client = shimClient(fleet);
    t.after(() => client.close());
    const traffic = startTraffic(fleet.plan);
    t.after(() => traffic.stop());
    await fleet.openRun("v2");
    await verdictWhere(bus, "a window passes", ({ body }) => body.verdict === "pass");

    if (how === "killed") await fleet.kill("nats-server");
    else fleet.freeze("nats-server");
    await holdThroughout(client, lastsMs);
    if (how === "killed") await fleet.start("nats-server");
    else fleet.thaw("nats-server");
    await until("the test client is connected", () => bus.status === "connected");
    await verdictWhere(bus, "a window passes again", ({ body }) => body.verdict === "pass", "new");
    await until("the shim serves it", async () => (await client.get()).body.verdict === "pass", { pollMs: 100 });

    traffic.stop();
    await until(
      "the last requests are counted",
      async () => requestsOf(await storedSignals(bus), "mac-a1") >= (traffic.requests.get("mac-a1") ?? 0),
      { pollMs: 250 },
    );
    const dropped = (await fleet.metric("collector-mac-a2", "aviary_collector_spool_dropped_total")) ?? 0;
    await fleet.stop(...COLLECTORS);
    const signals = await storedSignals(bus);
    assert.equal(requestsOf(signals, "mac-a1"), traffic.requests.get("mac-a1"), "every request is counted once");
    assert.deepEqual(numbering(signals, "mac-a1"), { missing: [], twice: 0, inOrder: true });
    const verdicts = await fleet.assertMatchesReplay();
    assert.ok(
      verdicts.every(({ body }) => body.verdict !== "fail"),
      `the canary was healthy:\n${formatVerdicts(verdicts)}`,
    );
    assertOldestDropped(signals, "mac-a2", dropped);
    if (how === "killed") {
      assert.ok(dropped > 0, "the small spool was too small for this outage");
      const gaps = verdicts.filter(({ body }) => body.reasons.some(({ code }) => code === "gap"));
      assert.ok(
        gaps.length > 0 && gaps.every(({ body }) => body.verdict === "hold"),
        `no gap was reported:\n${formatVerdicts(verdicts)}`,
      );
    }
    fleet.assertNoCrashes();
  });
}

/** Polls until the outage ends: once the last verdict has expired, every answer is a hold with its reason. */
async function holdThroughout(client: TestShimClient, lastsMs: number): Promise<void> {
  const sinceMs = performance.now();
  await until("the last verdict has expired", async () => (await client.get()).body.stale === true, { pollMs: 100 });
  await until(
    "the outage has ended",
    async () => {
      const { status, body } = await client.get();
      assert.deepEqual([status, body.verdict, body.stale, body.reasons[0]?.code], [200, "hold", true, "evaluator_down"]);
      return performance.now() - sinceMs >= lastsMs;
    },
    { deadlineMs: 2 * lastsMs, pollMs: 250 },
  );
}

function assertOldestDropped(signals: readonly StoredSignal[], gateway: string, dropped: number): void {
  const { missing, twice, inOrder } = numbering(signals, gateway);
  assert.deepEqual({ twice, inOrder }, { twice: 0, inOrder: true });
  // Signals in flight when the broker went down may have arrived and also been spooled, and dropped, as if they had not.
  assert.ok(missing.length <= dropped && missing.length >= dropped - 1, `${missing.length} missing, ${dropped} counted`);
  const [first = 0, last = -1] = [missing[0], missing.at(-1)];
  assert.equal(missing.length, last - first + 1, "the oldest were dropped, contiguously");
}
