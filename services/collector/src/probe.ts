/**
 * The probe interface. A probe declares its timing, a source that reads the outside world (an effect), and a pure function that
 * parses the raw reading and the probe's state into signal bodies. `probes/list.ts` lists the probes; `runner.ts` runs them.
 */
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import type { GatewayRef, SignalKind } from "@aviary/shared/contract/subjects.ts";
import { duration } from "@aviary/shared/contract/units.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import type { HttpClient, HttpClientTls } from "@aviary/shared/runtime/http-client.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import { z } from "zod";
import type { ObservedRelease } from "./core/envelope.ts";
import type { Tick } from "./core/schedule.ts";

/** Facts about the gateway that one probe observes, and that every signal carries or another probe reads. */
export interface EnvelopeFacts extends ObservedRelease {
  /** Uptime as last reported by the gateway; null before the first report. */
  readonly uptimeMs: number | null;
}

export const NO_FACTS: EnvelopeFacts = { gatewayVersion: null, skillHash: null, uptimeMs: null };

/** Dependencies of a probe. */
export interface ProbeContext {
  readonly gateway: GatewayRef;
  readonly clock: Clock;
  /** Uniform in [0, 1), for jitter. */
  readonly random: () => number;
  readonly http: HttpClient;
  /** Opens a client for servers with another certificate authority; the caller disposes of it. */
  readonly openHttp: (tls: HttpClientTls) => HttpClient;
  readonly log: Logger;
  /** The current facts. */
  readonly facts: () => EnvelopeFacts;
  /** Increments a probe event counter in the collector's metrics, for events that no signal carries. */
  readonly count: (what: string, by: number) => void;
}

/** Reads the outside world. Disposal releases its resources. A read must stop when the signal aborts. */
export interface Source<R> extends AsyncDisposable {
  read(tick: Tick, signal: AbortSignal): Promise<R>;
}

export interface Reading<K extends SignalKind, S> {
  /** One signal per body. */
  readonly bodies: readonly SignalBody<K>[];
  readonly state: S;
  readonly learned?: Partial<EnvelopeFacts>;
}

export interface ProbeSpec<K extends SignalKind, C extends Timing, R, S> {
  readonly name: string;
  readonly kind: K;
  /** Its section in `collector.yaml`. */
  readonly configSchema: z.ZodType<C>;
  /** Whether a reading counts events since the previous reading. Such a probe first reads after one period. */
  readonly coversPeriod: boolean;
  readonly initial: S;
  /** The facts that only this probe observes, as unknown: while it fails, the last value may be outdated. */
  readonly unknownWhileFailing?: Partial<EnvelopeFacts>;
  create(config: C, context: ProbeContext): Source<R>;
  parse(raw: R, state: S, tick: Tick, config: C): Reading<K, S>;
}

/** Configuration keys of every probe: its period and the timeout of one reading, in milliseconds after parsing. */
export interface Timing {
  readonly period: number;
  readonly timeout: number;
}

/** The schema of these keys. A signal is stale after two periods, and default policies assume the default periods. */
export const timing = (period: string, timeout: string) => ({
  period: duration("100ms", "1h").prefault(period),
  timeout: duration("50ms", "10m").prefault(timeout),
});

/** The result of one reading. */
export interface ProbeOutcome {
  readonly kind: SignalKind;
  readonly bodies: readonly SignalBody<SignalKind>[];
  readonly learned: Partial<EnvelopeFacts>;
}

/** A configured probe with its state. */
export interface OpenProbe extends AsyncDisposable {
  read(tick: Tick, signal: AbortSignal): Promise<ProbeOutcome>;
}

/** A probe with its type parameters erased. */
export interface Probe {
  readonly name: string;
  readonly kind: SignalKind;
  readonly configSchema: z.ZodType<Timing>;
  readonly coversPeriod: boolean;
  readonly unknownWhileFailing: Partial<EnvelopeFacts>;
  /** `config` must have passed `configSchema`. */
  open(config: Timing, context: ProbeContext): OpenProbe;
}

export function defineProbe<K extends SignalKind, C extends Timing, R, S>(spec: ProbeSpec<K, C, R, S>): Probe {
  return {
    name: spec.name,
    kind: spec.kind,
    configSchema: spec.configSchema,
    coversPeriod: spec.coversPeriod,
    unknownWhileFailing: spec.unknownWhileFailing ?? {},
    open(checked, context) {
      const config = checked as C;
      const source = spec.create(config, context);
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

/** A source without resources to release. */
export function sourceOf<R>(read: Source<R>["read"]): Source<R> {
  return { read, [Symbol.asyncDispose]: async () => {} };
}

/** The schema of a name that becomes part of a signal, such as a lane or a dependency. */
export const nameKey = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, {
  error: "a name of at most 63 characters from [a-z0-9._-], starting with a letter or digit",
});
