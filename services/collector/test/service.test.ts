/** The whole collector on the memory bus, and on a real broker that is killed. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import type { Bus, StoredMessage } from "@aviary/shared/bus/bus.ts";
import { deferredBus } from "@aviary/shared/bus/deferred.ts";
import { createMemoryBus } from "@aviary/shared/bus/memory.ts";
import { connectNats } from "@aviary/shared/bus/nats.ts";
import { LOCAL_MAX_BYTES, topology } from "@aviary/shared/bus/streams.ts";
import { applyStreams } from "@aviary/shared/bus/streams-apply.ts";
import { parseSignal, type Signal } from "@aviary/shared/contract/signal.ts";
import { parseInputSubject, subjectFilters } from "@aviary/shared/contract/subjects.ts";
import { systemClock } from "@aviary/shared/runtime/clock.ts";
import { silentLogger } from "@aviary/shared/runtime/logger.ts";
import { createRegistry } from "@aviary/shared/runtime/metrics.ts";
import { freePort, type RunningNats, requireServer, startNats } from "@aviary/shared/testing/servers.ts";
import { storedMessages } from "@aviary/shared/testing/stored-messages.ts";
import { atEnd, temporaryDirectory } from "@aviary/shared/testing/temporary.ts";
import { until } from "@aviary/shared/testing/until.ts";
import { collectorConfig } from "../src/config.ts";
import { type Collector, startCollector } from "../src/service.ts";
import type { SignalPublisher } from "../src/spool/publish-batch.ts";

const IDENTITY = { az: "az-a", fleet: "payments", gateway: "mac-a1", slice: "canary" };

/**
 * A healthy gateway, an access log, a skill and a rollout file: the sources of every probe that needs no other server, at the
 * shortest period.
 */
async function gatewayAt(test: TestContext): Promise<Record<string, Record<string, unknown>>> {
  const directory = await temporaryDirectory(test);
  const bodies: Readonly<Record<string, unknown>> = {
    "/healthz": { ok: true, status: "live" },
    "/startupz": { ok: true, status: "started", version: "2026.9.6", uptimeMs: 100_000 },
    "/readyz": { ready: true, failing: [], uptimeMs: 100_000 },
  };
  const server = createServer((request, response) => {
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(bodies[request.url ?? ""] ?? {}));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  atEnd(test, () => {
    server.closeAllConnections();
    server.close();
  });
  await writeFile(join(directory, "access.jsonl"), "");
  await writeFile(join(directory, "rollout.json"), '{"canary":"prod/payments-gateway","weight":10,"phase":"Progressing"}');
  const often = { period: "100ms" };
  return {
    "gateway-probes": { ...often, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` },
    skills: { ...often, roots: { managed: directory } },
    "access-log": { ...often, path: join(directory, "access.jsonl"), format: "jsonl" },
    disk: { ...often, path: await temporaryDirectory(test) },
    process: often,
    rollout: { ...often, file: join(directory, "rollout.json") },
  };
}

function start(test: TestContext, bus: SignalPublisher, probes: object, dataDir?: string): Collector {
  const config = collectorConfig({ ...IDENTITY, probes });
  const more = dataDir === undefined ? {} : { dataDir };
  const collector = startCollector({ config, bus, clock: systemClock, logger: silentLogger, metrics: createRegistry(), ...more });
  atEnd(test, () => collector[Symbol.asyncDispose]());
  return collector;
}

interface Log {
  readonly messages: readonly StoredMessage[];
  readonly signals: readonly Signal[];
}

/** All messages of the stream, validated against the contract. */
async function readLog(bus: Bus): Promise<Log> {
  const messages = await storedMessages(bus, "INPUTS", [subjectFilters.signals]);
  const signals = messages.map((message) => {
    const result = parseSignal(JSON.parse(Buffer.from(message.data).toString("utf8")));
    assert.ok(result.success, result.error?.message);
    const subject = parseInputSubject(message.subject);
    assert.ok(subject?.family === "signal" && subject.kind === result.data.kind && subject.gateway === result.data.gateway);
    assert.equal(message.id, result.data.id);
    return result.data;
  });
  return { messages, signals };
}

/** The signals so far; empty while the broker cannot be read, such as shortly after its start. */
const signalsNow = (bus: Bus): Promise<readonly Signal[]> =>
  readLog(bus).then(
    (log) => log.signals,
    (error: { code?: string }) => {
      if (error.code === "broker_unavailable") return [];
      throw error;
    },
  );

const numbersOf = (log: Log, boot: string): number[] =>
  log.signals.filter((signal) => signal.collector_boot === boot).map((signal) => signal.seq);
const upTo = (last: number): number[] => Array.from({ length: last }, (_, n) => n + 1);

describe("a collector on the memory bus", () => {
  it("publishes six kinds without gaps in seq, with the observed release", async (test) => {
    const bus = createMemoryBus();
    const collector = start(test, bus, await gatewayAt(test));
    const kinds = async (): Promise<Set<string>> => new Set((await signalsNow(bus)).map((signal) => signal.kind));
    await until("six kinds were published", async () => (await kinds()).size === 6);
    await until("the release is known", () => collector.facts.gatewayVersion !== null && collector.facts.skillHash !== null);
    await collector[Symbol.asyncDispose]();
    const log = await readLog(bus);
    assert.deepEqual(numbersOf(log, collector.boot), upTo(log.signals.length));
    const last = log.signals.at(-1)!;
    assert.deepEqual([last.gateway_version, last.skill_hash], ["2026.9.6", collector.facts.skillHash]);
    assert.deepEqual([last.az, last.fleet, last.gateway, last.slice], ["az-a", "payments", "mac-a1", "canary"]);
    // An http signal carries the time its counts cover, which is shorter at the start. Every other kind carries its configured
    // period.
    for (const signal of log.signals) {
      if (signal.kind === "http") assert.ok(signal.period_ms >= 1);
      else assert.equal(signal.period_ms, 100, signal.kind);
    }
    assert.match(last.fragment_hash ?? "", /^[0-9a-f]{64}$/);
    assert.match(collector.boot, /^[a-z0-9]{8,9}-[0-9a-f]{16}$/);
  });

  it("publishes no skill hash while the tree cannot be hashed, so that an unhashable entry cannot hide a change", async (test) => {
    const directory = await temporaryDirectory(test);
    await writeFile(join(directory, "SKILL.md"), "one");
    const bus = createMemoryBus();
    const often = { period: "100ms" };
    const collector = start(test, bus, {
      skills: { ...often, roots: { managed: directory } },
      disk: { ...often, path: await temporaryDirectory(test) },
    });
    await until("the skills are known", () => collector.facts.skillHash !== null);
    const before = collector.facts.skillHash;
    await symlink("/etc/hosts", join(directory, "odd"));
    await until("the hash is unknown", () => collector.facts.skillHash === null);
    await writeFile(join(directory, "SKILL.md"), "two");
    const seen = (await signalsNow(bus)).length;
    await until("more signals were published", async () => (await signalsNow(bus)).length >= seen + 3);
    for (const signal of (await signalsNow(bus)).slice(seen)) assert.equal(signal.skill_hash, null);
    await rm(join(directory, "odd"));
    await until("the hash is known again", () => collector.facts.skillHash !== null);
    assert.notEqual(collector.facts.skillHash, before);
  });

  it("publishes other signals while one probe hangs and one fails", async (test) => {
    const hanging = createServer(() => {});
    hanging.listen(0, "127.0.0.1");
    await once(hanging, "listening");
    atEnd(test, () => {
      hanging.closeAllConnections();
      hanging.close();
    });
    const bus = createMemoryBus();
    const probes = await gatewayAt(test);
    const url = `http://127.0.0.1:${(hanging.address() as AddressInfo).port}`;
    start(test, bus, {
      ...probes,
      "gateway-probes": { url, timeout: "10m", answerTimeout: "1m" },
      skills: { roots: { a: "/absent" } },
    });
    const count = async (kind: string): Promise<number> =>
      (await signalsNow(bus)).filter((signal) => signal.kind === kind).length;
    await until("the others were read five times", async () => (await count("disk")) >= 5 && (await count("rollout")) >= 5);
    assert.equal(await count("health"), 0);
    assert.equal(await count("skills"), 0);
  });

  it("counts readings, signals and publishes in its metrics", async (test) => {
    const metrics = createRegistry();
    const bus = createMemoryBus();
    const config = collectorConfig({ ...IDENTITY, probes: await gatewayAt(test) });
    const collector = startCollector({ config, bus, clock: systemClock, logger: silentLogger, metrics });
    atEnd(test, () => collector[Symbol.asyncDispose]());
    const value = (line: string): number => Number(new RegExp(`^${line} (\\d+)$`, "m").exec(metrics.expose())?.[1] ?? 0);
    await until("a signal was counted", () => value('aviary_collector_readings_total\\{probe="disk",result="ok"\\}') > 0);
    await collector.settled();
    assert.ok(value("aviary_collector_published_total") > 0);
    assert.ok(value('aviary_collector_signals_total\\{kind="disk"\\}') > 0);
  });
});

async function startBroker(test: TestContext): Promise<{ nats: RunningNats; bus: Bus }> {
  const nats = await startNats();
  atEnd(test, () => nats.stop());
  const bus = await connectNats({ servers: nats.url, name: "test" });
  atEnd(test, () => bus[Symbol.asyncDispose]());
  await applyStreams(bus.connection, topology({ maxBytes: LOCAL_MAX_BYTES }));
  return { nats, bus };
}

describe("a collector on a real broker", () => {
  it("spools signals while the broker is down, and stores each once and in order on reconnect", async (test) => {
    if (!requireServer(test, "nats")) return;
    const { nats, bus } = await startBroker(test);
    const own = await connectNats({ servers: nats.url, name: "collector" });
    atEnd(test, () => own[Symbol.asyncDispose]());
    const dataDir = await temporaryDirectory(test);
    const collector = start(test, own, await gatewayAt(test), dataDir);
    await until("signals are stored", async () => (await signalsNow(bus)).length > 5);
    await nats.kill9();
    const spool = join(dataDir, "spool", "az-a.payments.mac-a1");
    await until("the spool grows", async () => (await readdir(spool).catch(() => [])).length > 0);
    await nats.restart();
    await until("the broker is back for both", () => bus.status === "connected" && own.status === "connected");
    await until("the spool is empty", async () => (await readdir(spool)).length === 0);
    await collector[Symbol.asyncDispose]();
    const log = await readLog(bus);
    assert.deepEqual(numbersOf(log, collector.boot), upTo(log.signals.length));
  });

  it("stores every signal on a broker that starts after the collector", async (test) => {
    if (!requireServer(test, "nats")) return;
    const port = await freePort();
    const connect = () => connectNats({ servers: `nats://127.0.0.1:${port}`, name: "collector" });
    const deferred = deferredBus({ connect, clock: systemClock, random: Math.random, log: silentLogger });
    atEnd(test, () => deferred[Symbol.asyncDispose]());
    const dataDir = await temporaryDirectory(test);
    const collector = start(test, deferred, await gatewayAt(test), dataDir);
    const spool = join(dataDir, "spool", "az-a.payments.mac-a1");
    await until("the spool grows", async () => (await readdir(spool).catch(() => [])).length > 0);
    const nats = await startNats({ port });
    atEnd(test, () => nats.stop());
    const bus = await connectNats({ servers: nats.url, name: "test" });
    atEnd(test, () => bus[Symbol.asyncDispose]());
    await applyStreams(bus.connection, topology({ maxBytes: LOCAL_MAX_BYTES }));
    await deferred.arrived;
    await until("the spool is empty", async () => (await readdir(spool)).length === 0);
    await collector[Symbol.asyncDispose]();
    const log = await readLog(bus);
    assert.deepEqual(numbersOf(log, collector.boot), upTo(log.signals.length));
  });

  it("keeps publishing after an outage even if the data directory is unusable", async (test) => {
    if (!requireServer(test, "nats")) return;
    const { nats, bus } = await startBroker(test);
    const own = await connectNats({ servers: nats.url, name: "collector" });
    atEnd(test, () => own[Symbol.asyncDispose]());
    const file = join(await temporaryDirectory(test), "file");
    await writeFile(file, "");
    start(test, own, await gatewayAt(test), file);
    await until("signals are stored", async () => (await signalsNow(bus)).length > 10);
    await nats.kill9();
    await nats.restart();
    const before = (await signalsNow(bus)).length;
    await until("and again after an outage", async () => (await signalsNow(bus)).length > before);
  });
});

describe("a collector process", () => {
  const MAIN = fileURLToPath(new URL("../src/main.ts", import.meta.url));

  async function spawnCollector(test: TestContext, env: Readonly<Record<string, string>>) {
    const child = spawn(process.execPath, [MAIN], { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    child.stdout.on("data", (data) => (output += String(data)));
    child.stderr.on("data", (data) => (output += String(data)));
    atEnd(test, () => void child.kill("SIGKILL"));
    const lines = (): Record<string, unknown>[] =>
      output
        .split("\n")
        .filter((line) => line.startsWith("{"))
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    const find = (event: string) => lines().find((line) => line.event === event);
    return { child, find, output: () => output };
  }

  it("publishes the spool of a killed predecessor under the original ids", async (test) => {
    if (!requireServer(test, "nats")) return;
    const { nats, bus } = await startBroker(test);
    const directory = await temporaryDirectory(test);
    const file = join(directory, "collector.yaml");
    await writeFile(file, JSON.stringify({ ...IDENTITY, probes: await gatewayAt(test) }));
    const env = { AVIARY_COLLECTOR_FILE: file, AVIARY_NATS_URL: nats.url, AVIARY_DATA_DIR: directory };

    const first = await spawnCollector(test, env);
    await until("signals are stored", async () => (await signalsNow(bus)).length > 5, { describe: first.output });
    await nats.kill9();
    const spool = join(directory, "spool", "az-a.payments.mac-a1");
    await until("the spool grows", async () => (await readdir(spool).catch(() => [])).length > 0, { describe: first.output });
    first.child.kill("SIGKILL");
    await once(first.child, "exit");

    const second = await spawnCollector(test, env);
    await until("the successor runs", () => second.find("collector.started") !== undefined, { describe: second.output });
    await nats.restart();
    const boots = async (): Promise<string[]> => [...new Set((await signalsNow(bus)).map((signal) => signal.collector_boot))];
    await until("signals of both boots are stored", async () => (await boots()).length === 2, { describe: second.output });
    second.child.kill("SIGTERM");
    const [code] = (await once(second.child, "exit")) as [number];
    assert.equal(code, 0, second.output());

    const log = await readLog(bus);
    for (const boot of await boots()) {
      const numbers = numbersOf(log, boot);
      assert.deepEqual(numbers, upTo(numbers.length), `${boot} has gaps or repeats`);
    }
    const order = log.signals.map((signal) => signal.collector_boot);
    assert.deepEqual(order, [...order].sort(), "the earlier boot comes first");
  });

  it("stops without delay and spools its signals when the broker was never reachable", async (test) => {
    const directory = await temporaryDirectory(test);
    const file = join(directory, "collector.yaml");
    await writeFile(file, JSON.stringify({ ...IDENTITY, probes: await gatewayAt(test) }));
    const nowhere = `nats://127.0.0.1:${await freePort()}`;
    const { child, find, output } = await spawnCollector(test, {
      AVIARY_COLLECTOR_FILE: file,
      AVIARY_NATS_URL: nowhere,
      AVIARY_DATA_DIR: directory,
    });
    await until("it runs", () => find("service.started") !== undefined, { describe: output });
    child.kill("SIGTERM");
    const [code] = (await once(child, "exit")) as [number];
    assert.equal(code, 0, output());
    assert.equal(find("service.stop_timeout"), undefined, output());
    assert.notDeepEqual(await readdir(join(directory, "spool", "az-a.payments.mac-a1")), []);
  });

  it("reports every configuration problem and exits with a failure code", async (test) => {
    const file = join(await temporaryDirectory(test), "collector.yaml");
    await writeFile(file, "az: az-a\nslice: canery\nprobes: { dsik: {} }\n");
    const { child, output } = await spawnCollector(test, { AVIARY_COLLECTOR_FILE: file, AVIARY_NATS_URL: "nats://127.0.0.1:1" });
    const [code] = (await once(child, "exit")) as [number];
    assert.equal(code, 1);
    for (const expected of ["fleet", "gateway", "slice", "dsik", "disk"]) assert.ok(output().includes(expected), output());
  });
});
