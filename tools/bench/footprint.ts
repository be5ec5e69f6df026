/**
 * P14, P16: the cost on a Mac. The shipped collector (bundled, with its Node flags) watches a gateway with twenty requests per
 * second and publishes about one signal per second. The peer is a bundle that connects and publishes one message per second with
 * the same client.
 *
 * P14: resident memory of both after 45 s, as counted by the kernel, and the collector's CPU; five pairs at once, because they
 * are nearly idle.
 * P16: bytes of its http signals on the wire, acknowledgement included, against one scrape of the same facts as Prometheus text.
 */
import { execFileSync, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseSignal } from "@aviary/shared/contract/signal.ts";
import { subjectFilters } from "@aviary/shared/contract/subjects.ts";
import { freePort } from "@aviary/shared/testing/servers.ts";
import { connect, type Msg } from "@nats-io/transport-node";
import { build } from "esbuild";
import { openAccessLog } from "../../examples/fleet/src/access-log.ts";
import { HEALTHY_GATEWAY } from "../../examples/fleet/src/desired-state.ts";
import { sampleLognormal } from "../../examples/fleet/src/distributions.ts";
import { startGateway } from "../../examples/fleet/src/gateway.ts";
import { seededRandom } from "../../libs/shared/src/testing/random.ts";
import { bundle } from "../../scripts/bundle.ts";
import { COLLECTOR_NODE_FLAGS } from "../../scripts/node-flags.ts";
import type { Benchmark } from "./benchmark.ts";
import { type Broker, startBroker } from "./broker.ts";
import { scrapeBytes } from "./prometheus-text.ts";
import { type Figures, median, middle, ratioOf } from "./rounds.ts";
import { startService, temporaryFolder } from "./service-stack.ts";

const PAIRS = 5;
/** V8 collects garbage once in the first fifteen seconds. */
const SETTLE_MS = 20_000;
const MEASURE_MS = 25_000;
const REQUESTS_PER_SECOND = 20;
const MIB = 1024 * 1024;

/** Bundles the bare client with the collector's own options. */
async function bundleBare(folder: string): Promise<string> {
  const outfile = join(folder, "bare.mjs");
  await build({
    entryPoints: [join(import.meta.dirname, "bare-client.ts")],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node22",
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
    logLevel: "warning",
  });
  return outfile;
}

/** A gateway that responds to probes, and its proxy's log, which grows by one line every 50 ms. */
async function startGatewayWithTraffic(
  cleanup: AsyncDisposableStack,
  folder: string,
): Promise<{ url: string; accessLog: string }> {
  const port = await freePort();
  const options = { name: "mac-a1", host: "127.0.0.1", seed: 1, desiredStateFile: join(folder, "control.json") };
  const gateway = await startGateway({ ...options, port, readDesired: () => HEALTHY_GATEWAY });
  cleanup.defer(() => gateway.stop());
  const path = join(folder, "access.jsonl");
  const log = openAccessLog(path);
  const random = seededRandom(7);
  const timer = setInterval(() => {
    const duration_ms = sampleLognormal(random, 24, 0.5);
    log.write({
      ts: new Date().toISOString(),
      status: 200,
      duration_ms,
      method: "POST",
      uri: "/v1/chat/completions",
      host: "canary.example",
      user_agent: "bench",
      content_type: "application/json",
      complete: true,
    });
  }, 1000 / REQUESTS_PER_SECOND);
  cleanup.defer(() => {
    clearInterval(timer);
    log.close();
  });
  return { url: `http://127.0.0.1:${port}`, accessLog: path };
}

function residentBytes(pid: number): number {
  return Number(execFileSync("ps", ["-o", "rss=", "-p", String(pid)], { encoding: "utf8" })) * 1024;
}

/**
 * Bytes of one publish and its acknowledgement, as the protocol writes them
 * (https://docs.nats.io/reference/reference-protocols/nats-protocol).
 */
function wireBytes(message: Msg): number {
  let head = "NATS/1.0\r\n\r\n".length;
  for (const [key, values] of message.headers ?? []) for (const value of values) head += `${key}: ${value}\r\n`.length;
  const { subject, reply = "", data } = message;
  const total = head + data.length;
  const sent = `HPUB ${subject} ${reply} ${head} ${total}\r\n`.length + total + 2;
  const ack = '{"stream":"INPUTS","seq":1234567}';
  return sent + `MSG ${reply} 1 ${ack.length}\r\n${ack}\r\n`.length;
}

interface Wire {
  readonly all: number[];
  readonly http: number[];
  readonly scrapes: number[];
}

/** Subscribes to the collector's publishes. */
async function listen(cleanup: AsyncDisposableStack, broker: Broker): Promise<Wire> {
  const connection = await connect({ servers: broker.url });
  cleanup.defer(() => connection.close());
  const wire: Wire = { all: [], http: [], scrapes: [] };
  connection.subscribe(subjectFilters.signals, {
    callback: (_error, message) => {
      const bytes = wireBytes(message);
      wire.all.push(bytes);
      const parsed = parseSignal(message.json());
      // The first one after a start covers less than its period.
      if (!parsed.success || parsed.data.kind !== "http" || parsed.data.body.requests < REQUESTS_PER_SECOND * 4) return;
      wire.http.push(bytes);
      wire.scrapes.push(scrapeBytes(parsed.data));
    },
  });
  await connection.flush();
  return wire;
}

/** One collector and one bare client, side by side; figures are taken after both have been idle for a long time. */
async function pair(
  index: number,
  programs: { collector: string; bare: string },
  plan: FootprintPlan,
): Promise<{ ours: Figures; bare: Figures }> {
  await using cleanup = new AsyncDisposableStack();
  const { broker, probes } = plan;
  const folder = temporaryFolder(cleanup);
  const config = join(folder, "collector.yaml");
  writeFileSync(config, JSON.stringify({ az: "az-a", fleet: "payments", gateway: `mac-a${index}`, slice: "canary", probes }));
  const bare = spawn(process.execPath, [programs.bare, broker.url], { stdio: "ignore" });
  cleanup.defer(() => void bare.kill("SIGKILL"));
  const env = { AVIARY_COLLECTOR_FILE: config, AVIARY_NATS_URL: broker.url, AVIARY_DATA_DIR: folder };
  const collector = await startService(cleanup, [...COLLECTOR_NODE_FLAGS, programs.collector], env);
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  const cpuBefore = await collector.metric("process_cpu_seconds_total");
  const start = performance.now();
  await new Promise((resolve) => setTimeout(resolve, MEASURE_MS));
  const rssBytes = residentBytes(collector.pid);
  const cpu = (await collector.metric("process_cpu_seconds_total")) - cpuBefore;
  return {
    ours: { rssBytes, cpuShare: (cpu * 1000) / (performance.now() - start) },
    bare: { rssBytes: residentBytes(bare.pid as number) },
  };
}

interface FootprintPlan {
  readonly broker: Broker;
  readonly probes: object;
}

export const benchmark: Benchmark = {
  workloads: {},
  async run(cleanup) {
    const folder = temporaryFolder(cleanup);
    const broker = await startBroker(cleanup);
    const gateway = await startGatewayWithTraffic(cleanup, folder);
    writeFileSync(
      join(folder, "rollout.json"),
      JSON.stringify({ canary: "prod/payments-gateway", weight: 10, phase: "Progressing" }),
    );
    const probes = {
      "gateway-probes": { url: gateway.url },
      "access-log": { path: gateway.accessLog, format: "jsonl" },
      skills: { roots: { managed: join(import.meta.dirname, "..", "docs") } },
      disk: { path: folder },
      process: {},
      deps: { targets: { broker: `tcp://${broker.url.slice("nats://".length)}` } },
      rollout: { file: join(folder, "rollout.json") },
    };
    const [parcel] = await bundle(["collector"], folder);
    const programs = { collector: parcel?.file ?? "", bare: await bundleBare(folder) };
    const wire = await listen(cleanup, broker);
    const figures = await Promise.all(Array.from({ length: PAIRS }, (_, k) => pair(k, programs, { broker, probes })));
    const ours = figures.map((figure) => figure.ours);
    const bare = figures.map((figure) => figure.bare);
    const rss = middle(ours, "rssBytes") / MIB;
    const seconds = (PAIRS * (SETTLE_MS + MEASURE_MS)) / 1000;
    return {
      measurements: [
        {
          id: "P14",
          ratio: ratioOf(ours, bare, "rssBytes"),
          ours: rss,
          denominator: middle(bare, "rssBytes") / MIB,
          unit: "MiB",
          rounds: PAIRS,
          bounds: [
            { what: "resident", value: rss, unit: "MiB", atMost: 75 },
            { what: "CPU", value: middle(ours, "cpuShare") * 100, unit: "% of a core", atMost: 0.5 },
          ],
        },
        {
          id: "P16",
          ratio: median(wire.http) / median(wire.scrapes),
          ours: median(wire.http),
          denominator: median(wire.scrapes),
          unit: "B",
          rounds: wire.http.length,
        },
      ],
      notes: [
        `the bundle has ${Math.round((parcel?.bytes ?? 0) / 1024)} KiB; ${(wire.all.length / seconds).toFixed(1)} signals per second of ${Math.round(median(wire.all))} bytes on the wire (median of all kinds)`,
        `P16: http signals of ${REQUESTS_PER_SECOND * 5} requests; rounds are signals. ${broker.version}`,
      ],
    };
  },
};
