/**
 * The collector: runs probes, wraps their readings in envelopes, and publishes them through the outbox. One process may run
 * several.
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { MAX_SIGNAL_BYTES, type SignalBody } from "@aviary/shared/contract/signal.ts";
import type { SignalKind } from "@aviary/shared/contract/subjects.ts";
import { signalSubject } from "@aviary/shared/contract/subjects.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import { createHttpClient, type HttpClient } from "@aviary/shared/runtime/http-client.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import type { Registry } from "@aviary/shared/runtime/metrics.ts";
import type { CollectorConfig } from "./config.ts";
import { collectorBoot, makeSignal } from "./core/envelope.ts";
import { phaseMs, type Tick } from "./core/schedule.ts";
import { readVolume } from "./io/volume.ts";
import { type EnvelopeFacts, NO_FACTS, type Probe, type Timing } from "./probe.ts";
import { PROBES } from "./probes/list.ts";
import { type RunnerOptions, type StopRunner, startRunner } from "./runner.ts";
import { type Outbox, openOutbox } from "./spool/outbox.ts";
import type { SignalPublisher } from "./spool/publish-batch.ts";
import { openSpool, type SegmentDamage } from "./spool/spool.ts";

export interface CollectorOptions {
  readonly config: CollectorConfig;
  readonly bus: SignalPublisher;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A dedicated registry: two collectors cannot share one. */
  readonly metrics: Registry;
  /** Parent directory of the spool. Without it, signals are buffered in memory only. */
  readonly dataDir?: string;
  /** Uniform in [0, 1), for jitter. */
  readonly random?: () => number;
}

export interface Collector extends AsyncDisposable {
  /** The boot id in this collector's signals. */
  readonly boot: string;
  /** Facts known about the gateway. */
  readonly facts: EnvelopeFacts;
  /** Resolves when every signal is stored or spooled, or waits because broker and disk are both unavailable. */
  settled(): Promise<void>;
}

const CLOSE_MS = 3_000;

/** Starts every configured probe and publishes its readings until disposed. */
export function startCollector(options: CollectorOptions): Collector {
  const { config, clock, logger: log } = options;
  const boot = collectorBoot(clock.now(), randomBytes(8).toString("hex"));
  const http = createHttpClient({ clock, loopback: true, allow: config.allowHosts });
  const outbox = outboxOf(options);
  registerOutboxMetrics(options.metrics, outbox);
  const state: CollectorState = { facts: NO_FACTS, seq: 0 };
  const running: RunningCollector = { options, boot, http, outbox, state, counters: registerMetrics(options.metrics) };
  const stops = startProbes(running);
  log.info(
    { event: "collector.started", boot, probes: Object.keys(config.probes), fragmentHash: config.fragmentHash },
    "collector started",
  );
  return {
    boot,
    get facts() {
      return state.facts;
    },
    settled: () => outbox.settled(),
    // Idempotent.
    async [Symbol.asyncDispose]() {
      await Promise.all(stops.map((stop) => stop()));
      await outbox.close(CLOSE_MS);
      http[Symbol.dispose]();
    },
  };
}

interface CollectorState {
  facts: EnvelopeFacts;
  /** The last sequence number. */
  seq: number;
}

interface RunningCollector {
  readonly options: CollectorOptions;
  readonly boot: string;
  readonly http: HttpClient;
  readonly outbox: Outbox;
  readonly state: CollectorState;
  readonly counters: ReturnType<typeof registerMetrics>;
}

function outboxOf({ config, bus, clock, logger, dataDir, random = Math.random }: CollectorOptions): Outbox {
  const { az, fleet, gateway } = config.gateway;
  const { maxBytes, redRatio } = config.spool;
  const directory = dataDir && join(dataDir, "spool", `${az}.${fleet}.${gateway}`);
  const log = logger.child("outbox");
  const onDamage = (damage: SegmentDamage): void =>
    log.warn({ event: "spool.damaged", ...damage }, "damaged spool segment; the records before the damage are published");
  return openOutbox({
    bus,
    clock,
    random,
    log,
    openSpool: directory ? () => openSpool({ directory, maxBytes, redRatio, readVolume, onDamage }) : undefined,
  });
}

function startProbes(collector: RunningCollector): StopRunner[] {
  const { probes } = collector.options.config;
  return PROBES.flatMap((probe) => {
    const settings = probes[probe.name];
    return settings === undefined ? [] : [startRunner(runnerOf(probe, settings, collector))];
  });
}

function runnerOf(probe: Probe, settings: Timing, collector: RunningCollector): RunnerOptions {
  const { options, http, state, counters } = collector;
  const { config, clock, logger: log, random = Math.random } = options;
  const { gateway } = config;
  const { name, coversPeriod, unknownWhileFailing } = probe;
  const opened = probe.open(settings, {
    gateway,
    clock,
    random,
    http,
    openHttp: (tls) => createHttpClient({ clock, loopback: true, allow: config.allowHosts, tls }),
    log: log.child(name),
    facts: () => state.facts,
    count: (what, by) => void (by > 0 && counters.events.series({ probe: name, what }).inc(by)),
  });
  return {
    name,
    probe: opened,
    coversPeriod,
    unknownWhileFailing,
    periodMs: settings.period,
    phaseMs: phaseMs(gateway.gateway, settings.period),
    timeoutMs: settings.timeout,
    clock,
    log,
    onSignal: (kind, tick, body) => publish(collector, kind, tick, body),
    onLearned: (learned) => {
      state.facts = { ...state.facts, ...learned };
    },
    onRead: (code, tookMs) => {
      counters.readings.series({ probe: name, result: code ?? "ok" }).inc();
      counters.seconds.series({ probe: name }).observe(tookMs / 1_000);
    },
  };
}

function publish(collector: RunningCollector, kind: SignalKind, tick: Tick, body: SignalBody<SignalKind>): void {
  const { options, boot, outbox, state, counters } = collector;
  const { gateway, slice, fragmentHash } = options.config;
  const seq = state.seq + 1;
  const signal = makeSignal({ gateway, slice, boot, fragmentHash }, { release: state.facts, seq, kind, tick, body });
  const data = JSON.stringify(signal);
  const bytes = Buffer.byteLength(data);
  if (bytes > MAX_SIGNAL_BYTES) {
    counters.oversized.inc();
    options.logger.error({ event: "signal.oversized", kind, bytes }, "signal exceeds MAX_SIGNAL_BYTES; dropped");
    return;
  }
  // Assigned only to published signals: an unused `seq` would look like a lost signal.
  state.seq = seq;
  counters.signals.series({ kind }).inc();
  outbox.enqueue({ subject: signalSubject(gateway, kind), id: signal.id, data });
}

function registerMetrics(metrics: Registry) {
  return {
    signals: metrics.counter("aviary_collector_signals_total", "Signals created, by kind.", { labels: ["kind"] }),
    readings: metrics.counter("aviary_collector_readings_total", "Probe readings, by result.", {
      labels: ["probe", "result"],
      maxSeries: 300,
    }),
    seconds: metrics.histogram(
      "aviary_collector_reading_seconds",
      "Duration of probe readings in seconds.",
      [0.001, 0.01, 0.1, 1, 5],
      {
        labels: ["probe"],
      },
    ),
    events: metrics.counter("aviary_collector_probe_events_total", "Probe events that no signal carries, by probe and event.", {
      labels: ["probe", "what"],
    }),
    oversized: metrics
      .counter("aviary_collector_oversized_total", "Signals dropped because they exceeded the size limit.")
      .series(),
  };
}

function registerOutboxMetrics(metrics: Registry, outbox: Outbox): void {
  const { counts } = outbox;
  const read = (name: string, help: string, value: () => number): void =>
    metrics.read("counter", `aviary_collector_${name}_total`, help, value);
  read("published", "Signals stored by the broker.", () => counts.published);
  read("replayed", "Signals published from disk.", () => counts.replayed);
  read("spooled", "Signals written to disk.", () => counts.spooled);
  read("refused", "Signals permanently rejected by the broker.", () => counts.rejected);
  read("overflowed", "Signals dropped because memory was full.", () => counts.overflowed);
  read("spool_dropped", "Signals dropped because the spool was full.", () => outbox.spool?.counts.dropped ?? 0);
  read("spool_damaged", "Spool segments that ended in a torn or corrupt record.", () => outbox.spool?.counts.damaged ?? 0);
  metrics.read("gauge", "aviary_collector_spool_bytes", "Size of the spool in bytes.", () => outbox.spool?.bytes ?? 0);
  metrics.read("gauge", "aviary_collector_waiting", "Signals waiting in memory.", () => outbox.waiting);
}
