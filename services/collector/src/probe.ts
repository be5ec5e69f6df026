/**
 * The probe interface. A probe declares how often it runs, how to read the outside world (an effect), and how to turn a reading
 * into signal bodies (a pure function of the reading and its own state). `probes/list.ts` lists all probes; `runner.ts` runs
 * them.
 */
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import type { GatewayRef, SignalKind } from "@aviary/shared/contract/subjects.ts";
import { duration } from "@aviary/shared/contract/units.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import type { HttpClient } from "@aviary/shared/runtime/http-client.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import { z } from "zod";
import type { Release } from "./core/envelope.ts";
import type { Tick } from "./core/schedule.ts";

/** Facts about the gateway shared between probes; each is published with every signal, or read by another probe. */
export interface Facts extends Release {
  /** The gateway's reported uptime, and when it was reported (milliseconds since the epoch). */
  readonly uptimeMs: number | null;
}

export const NO_FACTS: Facts = { gatewayVersion: null, skillHash: null, uptimeMs: null };

/** The outside world, as seen by probes. */
export interface World {
  readonly gateway: GatewayRef;
  readonly clock: Clock;
  /** Uniform in [0, 1), for jitter. */
  readonly random: () => number;
  readonly http: HttpClient;
  readonly log: Logger;
  /** The newest facts. */
  readonly facts: () => Facts;
  /** Counts an event of this probe that is not in any signal, for the collector's metrics. */
  readonly count: (what: string, by: number) => void;
}

/** Reads; disposing it closes its open resources. A read must return when the signal aborts. */
export interface Source<R> extends AsyncDisposable {
  read(tick: Tick, signal: AbortSignal): Promise<R>;
}

export interface Reading<K extends SignalKind, S> {
  /** One signal per body. */
  readonly bodies: readonly SignalBody<K>[];
  readonly state: S;
  readonly learned?: Partial<Facts>;
}

export interface ProbeSpec<K extends SignalKind, C extends Timing, R, S> {
  readonly name: string;
  readonly kind: K;
  /** Its section in `collector.yaml`. */
  readonly configSchema: z.ZodType<C>;
  /** True if readings count events since the previous reading: such a probe first reads after one period. */
  readonly coversPeriod: boolean;
  readonly initial: S;
  create(config: C, world: World): Source<R>;
  parse(raw: R, state: S, tick: Tick, config: C): Reading<K, S>;
}

/** Settings of every probe: its period, and the timeout of one reading. Milliseconds after parsing. */
export interface Timing {
  readonly period: number;
  readonly timeout: number;
}

/** The schema of those settings. A signal is stale after two periods; the default period matches the default policy. */
export const timing = (period: string, timeout: string) => ({
  period: duration("100ms", "1h").prefault(period),
  timeout: duration("50ms", "10m").prefault(timeout),
});

/** The result of one reading of an open probe. */
export interface Outcome {
  readonly kind: SignalKind;
  readonly bodies: readonly SignalBody<SignalKind>[];
  readonly learned: Partial<Facts>;
}

/** A running probe: configured, with its state. */
export interface OpenProbe extends AsyncDisposable {
  read(tick: Tick, signal: AbortSignal): Promise<Outcome>;
}

/** A probe with its types erased. */
export interface Probe {
  readonly name: string;
  readonly kind: SignalKind;
  readonly configSchema: z.ZodType<Timing>;
  readonly coversPeriod: boolean;
  /** `config` must have been validated with `configSchema`. */
  open(config: Timing, world: World): OpenProbe;
}

export function defineProbe<K extends SignalKind, C extends Timing, R, S>(spec: ProbeSpec<K, C, R, S>): Probe {
  return {
    name: spec.name,
    kind: spec.kind,
    configSchema: spec.configSchema,
    coversPeriod: spec.coversPeriod,
    open(checked, world) {
      const config = checked as C;
      const source = spec.create(config, world);
      let state = spec.initial;
      return {
        async read(tick, signal) {
          const raw = await source.read(tick, signal);
          const reading = spec.parse(raw, state, tick, config);
          state = reading.state;
          return { kind: spec.kind, bodies: reading.bodies, learned: reading.learned ?? {} };
        },
        [Symbol.asyncDispose]: () => source[Symbol.asyncDispose](),
      };
    },
  };
}

/** A source without open resources. */
export function sourceOf<R>(read: Source<R>["read"]): Source<R> {
  return { read, [Symbol.asyncDispose]: async () => {} };
}

/** The schema of a name that is part of a signal, such as a lane or a dependency. */
export const nameKey = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, { error: "a name of [a-z0-9._-], at most 63 characters" });
