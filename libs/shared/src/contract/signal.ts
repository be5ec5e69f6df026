/**
 * A signal: one observation from one gateway. Its identity (az, fleet, gateway, kind) is the subject; the payload repeats it only
 * so that a message is readable on its own, and a payload that contradicts its subject is rejected.
 */
import { z } from "zod";
import { latencyWireSchema } from "../histogram.ts";
import type { SIGNAL_KINDS } from "./subjects.ts";

/**
 * ISO-8601 UTC with milliseconds, for example `2026-11-21T10:05:00.000Z`. Every accepted text is a valid instant: `Date.parse`
 * never returns NaN.
 */
export const isoTimeSchema = z
  .string()
  .regex(
    /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z$/,
    "expected ISO-8601 UTC with milliseconds",
  );
export const tokenText = z.string().regex(/^[a-z0-9-]{1,63}$/, "expected [a-z0-9-]{1,63}");
export const hash64 = z.string().regex(/^[0-9a-f]{64}$/, "expected 64 lower-case hex digits");
/** A count: an integer from 0 to 2^53 - 1. */
export const count = z.int().min(0);
const share = z.number().min(0).max(1);
const shortText = z.string().max(200);
const names = z.array(z.string().max(120)).max(64);

export const HTTP_SOURCES = ["access-log", "prometheus", "synthetic"] as const;
export type HttpSource = (typeof HTTP_SOURCES)[number];

/**
 * Requests that finished within `[observed_at - period_ms, observed_at)`. One real source per gateway; synthetic requests are
 * always separate.
 *
 * Every line of an access log that concerns this gateway is in exactly one of `requests`, `aborted`, `probes`, `streams` and
 * `unread`; `errors_5xx` and `errors_4xx` are part of `requests`. Signals of older collectors have `requests` and `errors_5xx`
 * only: for them the other counts are unknown, not 0.
 */
export const httpBody = z.object({
  source: z.enum(HTTP_SOURCES),
  /** User requests that were answered, completely or not. */
  requests: count,
  /** Status 500 to 599, and answers that were cut off. */
  errors_5xx: count,
  /** Status 400 to 499, without those in `aborted`. */
  errors_4xx: count.optional(),
  /** Requests that ended without an answer because of the client: 499, 408, and those that the proxy dropped (444). */
  aborted: count.optional(),
  /** Requests of health checkers and of collectors, by User-Agent. */
  probes: count.optional(),
  /** Event streams and upgraded connections, whose duration is not a latency. */
  streams: count.optional(),
  /**
   * Lines that could not be parsed, were lost, or have not been read yet. A line that has not been read yet is counted again,
   * in its own class, by the signal that reads it.
   */
  unread: count.optional(),
  /** Durations of `requests`, except of cut-off answers without a known duration. */
  latency: latencyWireSchema,
});

export const HEALTH_STATES = ["up", "refused", "timeout", "starting", "draining", "not_ready"] as const;
export const healthBody = z.object({
  state: z.enum(HEALTH_STATES),
  failing: names,
  suppressed: names,
  uptime_ms: count.nullable(),
  /** True once the gateway has been up for longer than its warm-up; traffic of a gateway in warm-up is marked and not judged. */
  warm: z.boolean(),
  worker_reachable: z.boolean(),
});

export const queueBody = z.object({ lane: z.string().min(1).max(63), role: z.enum(["build", "gateway"]), depth: count });

export const diskBody = z.object({
  /** 0 to 1. Space that the operating system could purge counts as used. */
  used_ratio: share,
  total_bytes: count,
  /** The part of the used space that macOS frees automatically when it is needed, bytes; absent if unknown. */
  purgeable_bytes: count.optional(),
  tier: z.enum(["1TB", "2TB"]),
  writable: z.boolean(),
});

export const skillsBody = z.object({ pack_hash: hash64, count, changed: names });

const finding = z.object({ check_id: z.string().max(120), severity: z.string().max(16), message: shortText });
export const doctorBody = z.object({
  deep: z.boolean(),
  checks_run: count,
  errors: z.array(finding).max(20),
  warnings: z.array(finding).max(20),
  /** Findings of severity error that were not accepted for this gateway before. */
  new_vs_baseline: z.array(finding).max(20),
  /** Doctor produced no readable report, which is neither a pass nor a failure. */
  unknown: z.boolean(),
});

export const depsBody = z
  .array(z.object({ name: z.string().min(1).max(63), ok: z.boolean(), latency_ms: z.number().min(0).nullable() }))
  .max(32);

export const processBody = z.object({
  gateway_boot: z.string().max(64).nullable(),
  restarts: count,
  rss_bytes: count.nullable(),
  exit_code: z.int().optional(),
  oom: z.boolean().optional(),
  thermal: z.string().max(32).optional(),
  memory_pressure: z.string().max(32).optional(),
});

export const logBody = z.object({
  errors: count,
  warnings: count,
  by_subsystem: z.record(z.string().max(64), count),
  samples: z.array(z.string().max(300)).max(3),
});

export const rolloutBody = z.object({
  canary: z.string().max(128),
  weight: z.number().min(0).max(100),
  phase: z.string().max(32),
});

const envelope = {
  v: z.literal(1),
  id: z.string().min(1).max(320),
  az: tokenText,
  fleet: tokenText,
  gateway: tokenText,
  /** Start time of the collector in base 36, a dash, and 64 random bits in hex: boots of one gateway sort by time. */
  collector_boot: z.string().regex(/^[a-z0-9-]{1,63}$/),
  /** Starts at 1 and counts over all kinds of one collector boot. */
  seq: z.int().min(1),
  /** A claim: the fleet file is authoritative, and a mismatch is a hold. */
  slice: z.enum(["canary", "stable"]),
  gateway_version: z.string().min(1).max(64).nullable(),
  skill_hash: hash64.nullable(),
  fragment_hash: hash64.nullable(),
  observed_at: isoTimeSchema,
  period_ms: z.int().min(1).max(86_400_000),
};

/** The wire schema, uncompiled, for JSON Schema output. Use `parseSignal` to read signals. */
export const signalSchema = z.discriminatedUnion("kind", [
  z.object({ ...envelope, kind: z.literal("http"), body: httpBody }),
  z.object({ ...envelope, kind: z.literal("health"), body: healthBody }),
  z.object({ ...envelope, kind: z.literal("queue"), body: queueBody }),
  z.object({ ...envelope, kind: z.literal("disk"), body: diskBody }),
  z.object({ ...envelope, kind: z.literal("skills"), body: skillsBody }),
  z.object({ ...envelope, kind: z.literal("doctor"), body: doctorBody }),
  z.object({ ...envelope, kind: z.literal("deps"), body: depsBody }),
  z.object({ ...envelope, kind: z.literal("process"), body: processBody }),
  z.object({ ...envelope, kind: z.literal("log"), body: logBody }),
  z.object({ ...envelope, kind: z.literal("rollout"), body: rolloutBody }),
]);

export type Signal = z.infer<typeof signalSchema>;
export type SignalOf<K extends Signal["kind"]> = Extract<Signal, { kind: K }>;
export type SignalBody<K extends Signal["kind"]> = SignalOf<K>["body"];

let compiled: typeof signalSchema | undefined;
/**
 * Validates a parsed JSON value; compiled, so that a valid signal costs well under a microsecond. Compiled at the first call,
 * because a collector only writes signals and the compiled schema takes 7 MB.
 */
export function parseSignal(value: unknown): z.ZodSafeParseResult<Signal> {
  compiled ??= z.compile(signalSchema);
  return compiled.safeParse(value);
}

/** The default period of each kind, milliseconds: about 1.1 messages per second per gateway. */
export const DEFAULT_PERIOD_MS: Readonly<Record<(typeof SIGNAL_KINDS)[number], number>> = {
  http: 5_000,
  health: 5_000,
  queue: 5_000,
  rollout: 5_000,
  disk: 10_000,
  process: 10_000,
  deps: 10_000,
  log: 30_000,
  skills: 300_000,
  doctor: 1_800_000,
};

/** The maximum size of a signal, bytes. Larger ones are dead letters. */
export const MAX_SIGNAL_BYTES = 16 * 1024;

/** The instant at which an observed fact becomes stale: two periods plus the grace later. Milliseconds since the epoch. */
export function staleAtMs(observed: { readonly observedAtMs: number; readonly periodMs: number }, graceMs: number): number {
  return observed.observedAtMs + 2 * observed.periodMs + graceMs;
}
