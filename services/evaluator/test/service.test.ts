import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { Bus } from "@aviary/shared/bus/bus.ts";
import { createMemoryBus } from "@aviary/shared/bus/memory.ts";
import { controlMessage } from "@aviary/shared/contract/control.ts";
import { fleetFileSchema } from "@aviary/shared/contract/fleet.ts";
import { type Policy, type PolicyFile, policySchema } from "@aviary/shared/contract/policy.ts";
import { controlSubject, deadSubject, signalSubject, verdictSubject } from "@aviary/shared/contract/subjects.ts";
import { parseVerdictRecord, type VerdictRecord } from "@aviary/shared/contract/verdict.ts";
import type { Terminal } from "@aviary/shared/runtime/faults.ts";
import { parseJsonBytes } from "@aviary/shared/runtime/json.ts";
import { silentLogger } from "@aviary/shared/runtime/logger.ts";
import { manualClock } from "@aviary/shared/testing/manual-clock.ts";
import { nextTurn, passTime } from "@aviary/shared/testing/pass-time.ts";
import { storedMessages } from "@aviary/shared/testing/stored-messages.ts";
import { until } from "@aviary/shared/testing/until.ts";
import type { Input } from "../src/core/inputs.ts";
import { resolveConfig } from "../src/core/resolved-config.ts";
import { createState } from "../src/core/state.ts";
import { keepConfiguration } from "../src/io/configuration.ts";
import { createInputReader } from "../src/io/inputs.ts";
import { CANARY, CANARY_KEY, createSimulatedFleet, reduceLog, START_MS, TEST_POLICY } from "./core/simulated-fleet.ts";
import { passTick, publishInput, startLiveEvaluator } from "./live-fleet.ts";

async function verdictsOf(bus: Bus): Promise<VerdictRecord[]> {
  return (await storedMessages(bus, "VERDICTS")).map(({ data }) => {
    const parsed = parseVerdictRecord(parseJsonBytes(data));
    assert.ok(parsed.success);
    return parsed.data;
  });
}

test("on a live bus, the evaluator publishes what a reduction of the same log yields, across restarts at any time", async () => {
  for (const restarts of [[], [40], [15, 31, 62, 64]]) {
    const clock = manualClock(START_MS);
    const bus = createMemoryBus({ clock });
    const fleet = createSimulatedFleet({ azs: ["az-a"] });
    const start = (holder: string) => startLiveEvaluator({ bus, clock, config: fleet.config, holder });
    let evaluator = start("first");
    for (let tick = 0; tick < 80; tick++) {
      await passTick(fleet, bus, clock, () => {
        if (tick === 6) fleet.publishControl({ verb: "announce", caller: "rollouts", revision: "v2" });
        if (tick === 40) for (const gateway of fleet.slice("canary")) gateway.errors = 50;
      });
      if (restarts.includes(tick)) {
        await evaluator[Symbol.asyncDispose]();
        evaluator = start(`after ${tick}`);
      }
    }
    await passTime(clock, 5_000, 50);
    await evaluator[Symbol.asyncDispose]();

    const log = (await storedMessages(bus, "INPUTS")).map(createInputReader());
    const configured = log.filter((input) => input.kind === "control" && input.control.verb === "configure");
    assert.equal(configured.length, 1, "a restart with the same files writes no second configuration");
    assert.equal(log.length, fleet.log.length + 1);
    const expected = reduceLog(fleet.config, log, clock.now()).verdicts.map(({ body }) => body.id);
    const published = (await verdictsOf(bus)).map(({ body }) => body.id);
    assert.ok(published.length > 15);
    assert.deepEqual(published, expected.slice(0, published.length), `restarts at ${restarts.join(", ")}`);
    assert.ok(expected.length - published.length <= 1, "only a deadline of the last instant may be pending");
    await bus[Symbol.asyncDispose]();
  }
});

test("a fleet that has never reported yields a current `not_reporting` hold with the gateway count, with the shipped policy", async () => {
  const clock = manualClock(START_MS);
  const bus = createMemoryBus({ clock });
  const fleet = createSimulatedFleet({ policy: "shipped" });
  const evaluator = startLiveEvaluator({ bus, clock, config: fleet.config, holder: "one" });
  const latest = async () => (await verdictsOf(bus)).at(-1)?.body;
  await until("a verdict is published", async () => {
    await passTime(clock, 100, 20);
    return (await latest()) !== undefined;
  });
  const first = (await latest())!;
  assert.deepEqual([first.verdict, first.degraded, first.gateway.expected, first.gateway.fresh], ["hold", true, 6, 0]);
  assert.deepEqual([...new Set(first.reasons.map(({ code }) => code))], ["not_reporting"]);
  assert.equal(first.reasons_more, 3, "one more gateway, the unknown depth of the lane, and that no run is open");
  await passTime(clock, 30 * 60_000, 1_000);
  // Checkpoints are compressed in a thread, so what was decided may be published a little later.
  const isCurrent = async () => Date.parse((await latest())!.valid_until) > clock.now();
  await until("a current verdict is published", isCurrent);
  const later = (await latest())!;
  assert.equal(later.reasons[0]?.code, "not_reporting");
  assert.ok(Date.parse(later.valid_until) > clock.now(), `expired at ${later.valid_until}`);
  await evaluator[Symbol.asyncDispose]();
  await bus[Symbol.asyncDispose]();
});

interface Recorded {
  readonly hash: string;
  readonly max5xxRate: number;
  readonly fromSequence: number;
}

/** The configurations in the log, in order, as they arrive. */
async function followConfigurations(bus: Bus): Promise<{ readonly found: Recorded[]; stop(): Promise<void> }> {
  const found: Recorded[] = [];
  const readInput = createInputReader();
  const follower = await bus.follow({
    stream: "INPUTS",
    from: "all",
    onMessage: (message) => {
      const input = readInput(message);
      if (input.kind !== "control" || input.control.verb !== "configure") return;
      const { hash, policy, from_sequence: fromSequence } = input.control;
      found.push({ hash, max5xxRate: (policy as unknown as Policy).thresholds.max5xxRate, fromSequence });
    },
  });
  return { found, stop: () => follower.stop() };
}

test("a leader records a configuration that differs from the log's, with its values and its first message", async () => {
  const clock = manualClock(START_MS);
  const bus = createMemoryBus({ clock });
  const { found, stop } = await followConfigurations(bus);
  for (const [index, max5xxRate] of [0.005, 0.01, 0.01, 0.005].entries()) {
    const { config } = createSimulatedFleet({ policy: { thresholds: { max5xxRate } } });
    const evaluator = startLiveEvaluator({ bus, clock, config, holder: `${index}` });
    const wanted = [1, 2, 2, 3][index]!;
    await until("it has recorded its configuration", async () => {
      await passTime(clock, 100, 20);
      return evaluator.notReady() === undefined && found.length >= wanted;
    });
    await passTime(clock, 1_000, 100);
    await evaluator[Symbol.asyncDispose]();
  }
  await stop();
  assert.deepEqual(
    found.map(({ max5xxRate, fromSequence }) => [max5xxRate, fromSequence]),
    [
      [0.005, 1],
      [0.01, 1],
      [0.005, 1],
    ],
  );
  await bus[Symbol.asyncDispose]();
});

test("a configuration that the broker does not store yet does not prevent leading, and is stored once that is possible", async () => {
  const clock = manualClock(START_MS);
  const memory = createMemoryBus({ clock });
  const broker = { rejects: true };
  const publish: Bus["publish"] = (message) =>
    broker.rejects && message.subject.endsWith(".configure")
      ? Promise.reject(new Error("no permission"))
      : memory.publish(message);
  const bus: Bus = Object.assign(Object.create(memory), { publish });
  const { found, stop } = await followConfigurations(memory);
  const fleet = createSimulatedFleet({ azs: ["az-a"] });
  const evaluator = startLiveEvaluator({ bus, clock, config: fleet.config, holder: "one" });
  for (let tick = 0; tick < 6; tick++) await passTick(fleet, memory, clock);
  assert.equal(evaluator.notReady(), undefined);
  assert.ok((await verdictsOf(memory)).length > 0);
  assert.deepEqual(found, []);
  broker.rejects = false;
  await passTime(clock, 15_000, 500);
  assert.equal(found.length, 1);
  await evaluator[Symbol.asyncDispose]();
  await stop();
  await memory[Symbol.asyncDispose]();
});

test("a process that no longer leads does not overwrite the leader's configuration; a leader corrects a wrong record", async () => {
  const clock = manualClock(START_MS);
  const bus = createMemoryBus({ clock });
  const fleet = createSimulatedFleet({ azs: ["az-a"] });
  const { found, stop } = await followConfigurations(bus);
  const evaluator = startLiveEvaluator({ bus, clock, config: fleet.config, holder: "leader" });
  await passTime(clock, 5_000, 100);
  assert.equal(found.length, 1);
  const own = found[0]!;
  const content = {
    verb: "configure",
    caller: "evaluator",
    hash: "0".repeat(16),
    from_sequence: 1,
    policy: { thresholds: {} },
  } as const;
  const foreign = controlMessage(CANARY, content, new Date(clock.now()).toISOString(), "late");
  await bus.publish({ subject: controlSubject("payments", CANARY, "configure"), data: JSON.stringify(foreign), id: foreign.id });
  await passTime(clock, 15_000, 500);
  assert.deepEqual(
    found.map(({ hash }) => hash),
    [own.hash, "0".repeat(16), own.hash],
  );
  await evaluator[Symbol.asyncDispose]();
  await stop();
  await bus[Symbol.asyncDispose]();
});

test("a configuration whose record will soon expire is recorded again, only by a leader", async () => {
  const clock = manualClock(START_MS);
  const bus = createMemoryBus({ clock });
  const { config } = createSimulatedFleet({ azs: ["az-a"] });
  const { found, stop } = await followConfigurations(bus);
  const state = createState(config);
  const canary = state.canaries.get(CANARY_KEY)!;
  Object.assign(canary, { configHash: config.canaries.get(CANARY_KEY)!.configHash, configuredAtMs: START_MS });
  const ended = new AbortController();
  const leading = { now: false };
  const isLeading = () => leading.now;
  const kept = keepConfiguration({
    bus,
    config,
    clock,
    log: silentLogger,
    state,
    fromSequence: 1,
    isLeading,
    signal: ended.signal,
  });
  const foundAfter = async (hours: number): Promise<number> => {
    state.nowMs = START_MS + hours * 3_600_000;
    await passTime(clock, 11_000, 1_000);
    return found.length;
  };
  leading.now = true;
  assert.equal(await foundAfter(23), 0);
  leading.now = false;
  assert.equal(await foundAfter(25), 0);
  leading.now = true;
  assert.equal(await foundAfter(25), 1);
  ended.abort();
  await kept;
  await stop();
  await bus[Symbol.asyncDispose]();
});

test("every part of the files that can change a verdict changes the configuration's hash", () => {
  const file = {
    fleets: {
      payments: { gateways: [{ name: "a", az: "az-a", slice: "canary" }] },
      other: { gateways: [{ name: "x", az: "az-a", slice: "canary" }] },
    },
    canaries: { "prod/gw": { fleet: "payments", policy: "p.yaml", lanes: ["l"] } },
    lanes: { l: { az: "az-a", slice: "canary", stableMax: 2 } },
  };
  const hashOf = (change: (copy: typeof file & Record<string, unknown>) => void, policy: PolicyFile = {}): string => {
    const copy = structuredClone(file);
    change(copy as never);
    const parsed = policySchema.parse(policy);
    return resolveConfig(fleetFileSchema.parse(copy), new Map([["prod/gw", parsed]]), "").canaries.get("prod/gw")!.configHash;
  };
  const base = hashOf(() => {});
  const changed = [
    hashOf((copy) => void Object.assign(copy.fleets.payments.gateways[0]!, { slice: "stable" })),
    hashOf((copy) => void Object.assign(copy.lanes.l, { stableMax: 3 })),
    hashOf((copy) => void Object.assign(copy.canaries["prod/gw"], { callers: { flagger: {} } })),
    hashOf(() => {}, { mode: "literal" }),
  ];
  assert.equal(new Set([base, ...changed]).size, changed.length + 1);
  assert.equal(
    hashOf((copy) => void Object.assign(copy.fleets.other.gateways[0]!, { name: "y" })),
    base,
    "another fleet does not",
  );
});

test("a stored verdict from the future does not silence an evaluator that starts after it", async () => {
  const clock = manualClock(START_MS);
  const bus = createMemoryBus({ clock });
  const fleet = createSimulatedFleet({ azs: ["az-a"] });
  const start = () => startLiveEvaluator({ bus, clock, config: fleet.config, holder: `at ${clock.now()}` });
  const run = async (ticks: number): Promise<void> => {
    for (let tick = 0; tick < ticks; tick++) await passTick(fleet, bus, clock);
  };
  const first = start();
  await run(8);
  await first[Symbol.asyncDispose]();
  const before = await verdictsOf(bus);
  const forged = structuredClone(before.at(-1)!);
  Object.assign(forged.body, { at: "2099-01-01T00:00:00.000Z", valid_until: "2099-01-01T00:00:00.000Z", verdict: "pass" });
  await bus.publish({ subject: verdictSubject(CANARY), data: JSON.stringify(forged), id: "forged" });

  const second = start();
  for (const gateway of fleet.slice("canary")) gateway.health = "timeout";
  await run(8);
  await second[Symbol.asyncDispose]();
  const after = (await verdictsOf(bus)).slice(before.length + 1);
  assert.ok(after.length > 0, "the evaluator publishes nothing");
  assert.equal(after.at(-1)!.body.verdict, "hold");
  await bus[Symbol.asyncDispose]();
});

test("an evaluator whose reducer throws stops with the position of the input, and writes no further checkpoint", async () => {
  for (const [where, expected] of [
    ["a message", /^the reducer threw at message \d+ of INPUTS: boom$/],
    ["a deadline", /^the reducer threw at the deadlines up to 2026-\S+Z: boom$/],
  ] as const) {
    const clock = manualClock(START_MS);
    const bus = createMemoryBus({ clock });
    const fleet = createSimulatedFleet({ azs: ["az-a"] });
    const state = { isBroken: false, current: 0, poisonedAt: -1 };
    const follow: Bus["follow"] = ({ onMessage, ...rest }) =>
      bus.follow({
        ...rest,
        onMessage: (message) => {
          state.current = rest.stream === "INPUTS" ? message.sequence : 0;
          onMessage(message);
          state.current = 0;
        },
      });
    const throwing = <K, V>(map: ReadonlyMap<K, V>): ReadonlyMap<K, V> =>
      Object.assign(new Map(map), {
        get: (key: K) => {
          if (state.isBroken || state.current === state.poisonedAt) throw new TypeError("boom");
          return map.get(key);
        },
      });
    const errors: Terminal[] = [];
    const evaluator = startLiveEvaluator({
      bus: Object.create(bus, { follow: { value: follow } }) as Bus,
      clock,
      config: {
        ...fleet.config,
        canaries: throwing(fleet.config.canaries),
        canariesOfFleet: throwing(fleet.config.canariesOfFleet),
      },
      holder: "only",
      onFatal: (error) => errors.push(error as Terminal),
    });
    for (let tick = 0; tick < 8; tick++) await passTick(fleet, bus, clock);
    assert.deepEqual(errors.map(String), [], where);
    const checkpoints = await bus.bucket("checkpoint");
    // Compression runs in a thread.
    await until("a checkpoint is stored", async () => (await checkpoints.get("evaluator")) !== undefined);
    const before = (await checkpoints.get("evaluator"))?.revision;
    if (where === "a message") {
      // Stored together: a gateway that is down, followed by a message that the reducer cannot process.
      for (const gateway of fleet.slice("canary")) gateway.health = "refused";
      const from = fleet.log.length;
      fleet.advance(5);
      const inputs = fleet.log.slice(from);
      state.poisonedAt = (await bus.streamState("INPUTS")).lastSequence + inputs.length;
      await Promise.all(inputs.map((input) => publishInput(bus, input)));
    } else state.isBroken = true;
    await passTime(clock, 60_000);
    assert.equal(errors.length, 1, where);
    assert.match(errors[0]!.message, expected);
    assert.equal(errors[0]!.code, "reducer_failed");
    const { reasons } = (await verdictsOf(bus)).at(-1)!.body;
    if (where === "a message") assert.equal(reasons[0]?.code, "gateway_down", "the earlier decision is published");
    assert.equal((await checkpoints.get("evaluator"))?.revision, before, where);
    await evaluator[Symbol.asyncDispose]();
    await bus[Symbol.asyncDispose]();
  }
});

test("invalid messages become dead letters with their reason, and the reducer continues", async () => {
  const clock = manualClock(START_MS);
  const bus = createMemoryBus({ clock });
  after(() => bus[Symbol.asyncDispose]());
  const fleet = createSimulatedFleet({ azs: ["az-a"] });
  fleet.advance(5);
  const stopped = new AbortController();
  const evaluator = startLiveEvaluator({ bus, config: fleet.config, clock, holder: "one", signal: stopped.signal });
  const first = fleet.log.find((input) => input.kind === "signal" && input.signal.kind === "http");
  assert.ok(first?.kind === "signal" && first.signal.kind === "http");
  const good = first.signal;
  const { body } = good;
  const subject = signalSubject(good, "http");
  const bad: [string, string, string][] = [
    ["bad_json", subject, "{"],
    ["bad_json", subject, '{"v":1,"seq":NaN}'],
    ["bad_shape", subject, "null"],
    ["bad_shape", subject, JSON.stringify({ ...good, body: { ...body, requests: -1 } })],
    ["bad_shape", subject, JSON.stringify(good).replace('"requests":100', '"requests":1e999')],
    ["impossible_counts", subject, JSON.stringify({ ...good, body: { ...body, errors_5xx: 101 } })],
    ["unknown_version", subject, JSON.stringify({ ...good, v: 2 })],
    ["wrong_identity", "signals.az-b.payments.canary-a.http", JSON.stringify(good)],
    ["wrong_identity", "signals.az-z.payments.nobody.http", JSON.stringify({ ...good, az: "az-z", gateway: "nobody" })],
    ["from_the_future", subject, JSON.stringify({ ...good, observed_at: "2027-01-01T00:00:00.000Z" })],
    ["bad_subject", "signals.az-a.payments.canary-a.rumour", "{}"],
    ["too_large", subject, JSON.stringify({ ...good, note: "x".repeat(17_000) })],
    [
      "wrong_identity",
      controlSubject("payments", { namespace: "prod", name: "nobody" }, "abort"),
      JSON.stringify(controlMessage(CANARY, { verb: "abort", caller: "operator", reason: "x" }, "2026-11-21T10:00:00.000Z", "1")),
    ],
  ];
  for (const [, where, data] of bad) {
    clock.advance(61_000);
    await bus.publish({ subject: where, data });
    await nextTurn();
  }
  await until("every invalid message is a dead letter", async () => {
    clock.advance(20);
    await nextTurn();
    return (await bus.streamState("DEAD")).messages >= bad.length;
  });
  const letters = await storedMessages(bus, "DEAD", [deadSubject("evaluator")]);
  assert.deepEqual(
    letters.map(({ data }) => (parseJsonBytes(data) as { reason: string }).reason),
    bad.map(([reason]) => reason),
  );
  assert.ok((await verdictsOf(bus)).every(({ body: published }) => published.verdict === "hold"));
  await evaluator[Symbol.asyncDispose]();
});

test("a flood of invalid messages from one sender writes a bounded number of dead letters and counts the rest", () => {
  const { config } = createSimulatedFleet();
  const flood: Input[] = Array.from({ length: 500 }, (_, index) => ({
    kind: "unreadable",
    sequence: index + 1,
    storedAtMs: START_MS + index * 100,
    subject: "signals.az-a.payments.canary-a.http",
    reason: "bad_json",
    text: "not JSON",
    excerpt: "",
  }));
  const { effects } = reduceLog(config, flood);
  const letters = effects.flatMap((effect) => (effect.kind === "dead" ? [effect.letter] : []));
  assert.equal(letters.length, 10, "ten in the minute");
  const { effects: later } = reduceLog(config, [
    ...flood,
    { ...(flood[0] as object), sequence: 501, storedAtMs: START_MS + 61_000 } as Input,
  ]);
  const last = later.flatMap((effect) => (effect.kind === "dead" ? [effect.letter] : [])).at(-1);
  assert.equal(last?.suppressed, 490);
});

test("of two evaluators, the second stands by and takes over when the first stops renewing", async () => {
  const clock = manualClock(START_MS);
  const bus = createMemoryBus({ clock });
  const policy: PolicyFile = { ...TEST_POLICY, window: "5s", grace: "500ms" };
  const file = fleetFileSchema.parse({
    fleets: { f: { gateways: [{ name: "g", az: "a", slice: "canary" }] } },
    canaries: { [CANARY_KEY]: { fleet: "f", policy: "p" } },
  });
  const config = resolveConfig(file, new Map([[CANARY_KEY, policySchema.parse(policy)]]), "p");
  // A killed leader leaves its lease behind and never renews it.
  const lease = await bus.bucket("lease");
  await lease.put("evaluator", JSON.stringify({ holder: "dead", at: "2026-11-21T10:00:00.000Z" }));
  await bus.publish({ subject: "signals.a.f.g.health", data: "{}" });
  const evaluator = startLiveEvaluator({ bus, clock, config, holder: "second" });
  assert.equal(evaluator.notReady(), "the lease has not been read yet");
  await nextTurn();
  assert.equal(evaluator.notReady(), undefined, "it stands by");
  let waitedMs = 0;
  while (JSON.parse(Buffer.from((await lease.get("evaluator"))!.value).toString()).holder !== "second") {
    clock.advance(100);
    waitedMs += 100;
    await nextTurn();
    assert.ok(waitedMs <= 5_000, "take-over within five seconds");
  }
  assert.ok(waitedMs >= 3_900, "not before the lease has expired");
  await evaluator[Symbol.asyncDispose]();
  assert.equal(
    JSON.parse(Buffer.from((await lease.get("evaluator"))!.value).toString()).holder,
    "",
    "a stopping leader releases its lease",
  );
  await bus[Symbol.asyncDispose]();
});
