/**
 * What a probe is. It declares how often it runs, how to read the outside context (an effect), and how to turn what was read into the bodies
 * of signals (a pure function of what was read and its own state). `probes/list.ts` lists them; `runner.ts` runs them.
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

/** What probes know about the gateway from each other's readings; each is published with every signal, or read by another probe. */
export interface Facts extends Release {
  /** How long the gateway said it had been up, and when it said so (milliseconds since the epoch). */
  readonly uptimeMs: number | null;
}

export const NO_FACTS: Facts = { gatewayVersion: null, skillHash: null, uptimeMs: null };

/** The outside context as probes meet it. */
export interface ProbeContext {
  readonly gateway: GatewayRef;
  readonly clock: Clock;
  /** Uniform in [0, 1), for jitter. */
  readonly random: () => number;
  readonly http: HttpClient;
  readonly log: Logger;
  /** The newest facts. */
  readonly facts: () => Facts;
  /** Counts something of this probe that no signal carries, for the collector's own metrics. */
  readonly count: (what: string, by: number) => void;
}

/** Reads; whatever it holds open is closed when it is disposed. A read must give up when the signal aborts. */
export interface Source<R> extends AsyncDisposable {
  read(tick: Tick, signal: AbortSignal): Promise<R>;
}

export interface Reading<K extends SignalKind, S> {
  /** One signal each. */
  readonly bodies: readonly SignalBody<K>[];
  readonly state: S;
  readonly learned?: Partial<Facts>;
}

export interface ProbeSpec<K extends SignalKind, C extends Timing, R, S> {
  readonly name: string;
  readonly kind: K;
  /** Its section in `collector.yaml`. */
  readonly configSchema: z.ZodType<C>;
  /** True when readings count what happened since the reading before: such a probe first reads when one period is over. */
  readonly coversPeriod: boolean;
  readonly initial: S;
  create(config: C, context: ProbeContext): Source<R>;
  parse(raw: R, state: S, tick: Tick, config: C): Reading<K, S>;
}

/** Keys that every probe has: how often it runs, and how long one reading may take. Milliseconds once read. */
export interface Timing {
  readonly period: number;
  readonly timeout: number;
}

/** The schema of those keys. A signal is stale after two periods: the default period is what the fleet file's policies expect. */
export const timing = (period: string, timeout: string) => ({
  period: duration("100ms", "1h").prefault(period),
  timeout: duration("50ms", "10m").prefault(timeout),
});

/** What one reading of an open probe gave. */
export interface Outcome {
  readonly kind: SignalKind;
  readonly bodies: readonly SignalBody<SignalKind>[];
  readonly learned: Partial<Facts>;
}

/** A probe at work: configured, with its state. */
export interface OpenProbe extends AsyncDisposable {
  read(tick: Tick, signal: AbortSignal): Promise<Outcome>;
}

/** A probe whose types are its own business. */
export interface Probe {
  readonly name: string;
  readonly kind: SignalKind;
  readonly configSchema: z.ZodType<Timing>;
  readonly coversPeriod: boolean;
  /** `config` must have passed `configSchema`. */
  open(config: Timing, context: ProbeContext): OpenProbe;
}

export function defineProbe<K extends SignalKind, C extends Timing, R, S>(spec: ProbeSpec<K, C, R, S>): Probe {
  return {
    name: spec.name,
    kind: spec.kind,
    configSchema: spec.configSchema,
    coversPeriod: spec.coversPeriod,
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

/** A source that holds nothing open. */
export function sourceOf<R>(read: Source<R>["read"]): Source<R> {
  return { read, [Symbol.asyncDispose]: async () => {} };
}

/** The schema of a name that becomes part of a signal, such as a lane or a dependency. */
export const nameKey = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, { error: "a name of [a-z0-9._-], at most 63 characters" });
