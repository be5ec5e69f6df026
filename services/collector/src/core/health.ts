/**
 * Classifies the three probe responses of an OpenClaw gateway. A bare 200 proves nothing: unknown paths return the HTML control
 * page with 200, and `/healthz` stays 200 while the gateway drains. Only JSON with the route's own shape therefore counts.
 *
 *     first match                                                  state
 *     startupz or readyz reports draining                          draining
 *     startupz or readyz reports starting                          starting
 *     healthz or readyz timed out                                  timeout      (the process hangs: it still accepts connections)
 *     healthz or readyz could not be reached                       refused
 *     healthz or readyz returned an unexpected response            not_ready, with the reason in `failing`
 *     readyz is not ready                                          not_ready, with its own `failing`
 *     else                                                         up; deliberately unstarted channels are in `suppressed`
 *
 * Gateways before 2026.8.1 lack `/startupz`; then only the version is unknown.
 */
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import { z } from "zod";

export type ProbeResult =
  | { readonly kind: "json"; readonly status: number; readonly value: unknown }
  /** HTTP, but not JSON. */
  | { readonly kind: "other"; readonly status: number }
  | { readonly kind: "timeout" }
  | { readonly kind: "refused" }
  /** Any other failure, as a short code. */
  | { readonly kind: "failed"; readonly code: string };

export interface GatewayProbeResults {
  readonly healthz: ProbeResult;
  readonly startupz: ProbeResult;
  readonly readyz: ProbeResult;
  /** The response of the worker or VIP path, when configured. */
  readonly worker: ProbeResult | undefined;
}

export interface HealthState {
  /** Start of the current run of `up` readings; for gateways that report no uptime. */
  readonly upSinceMs: number | null;
}

export interface Health {
  readonly body: SignalBody<"health">;
  readonly state: HealthState;
  /** The running version, if `/startupz` reports it. */
  readonly version: string | undefined;
}

const uptime = z.number().min(0).optional();
/** The entries of a list of names, each a text or an object with an id. A malformed entry does not hide the others. */
const names = z
  .array(z.unknown())
  .catch([])
  .transform((entries) => entries.map(nameOfEntry));
const healthz = z.object({ ok: z.literal(true), status: z.literal("live") });
const startupz = z.discriminatedUnion("status", [
  z.object({ ok: z.literal(true), status: z.literal("started"), version: z.string().optional(), uptimeMs: uptime }),
  z.object({ ok: z.literal(false), status: z.literal("starting"), version: z.string().optional(), uptimeMs: uptime }),
  z.object({ ok: z.literal(false), status: z.literal("draining"), version: z.string().optional(), uptimeMs: uptime }),
]);
const readyz = z.object({ ready: z.boolean(), failing: names.optional(), suppressed: names.optional(), uptimeMs: uptime });

function nameOfEntry(entry: unknown): string {
  if (typeof entry === "string") return entry;
  const { id, name } = (entry ?? {}) as { readonly id?: unknown; readonly name?: unknown };
  return typeof id === "string" ? id : typeof name === "string" ? name : "unnamed";
}

type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly answer: ProbeResult };

/** The health of a gateway at `at`, milliseconds since the epoch. */
export function classifyHealth(answers: GatewayProbeResults, state: HealthState, atMs: number, warmUpMs: number): Health {
  const live = parseResult(answers.healthz, healthz, () => 200);
  const startup = parseResult(answers.startupz, startupz, (value) => (value.ok ? 200 : 503));
  const ready = parseResult(answers.readyz, readyz, (value) => (value.ready ? 200 : 503));
  const failing = ready.ok ? (ready.value.failing ?? []) : [];

  const health = stateOf(live, startup, ready, failing);
  // A readiness check that threw reports 0, which is not an uptime.
  const readyUptimeMs = ready.ok && !failing.includes("internal") ? ready.value.uptimeMs : undefined;
  const uptimeMs = (startup.ok ? startup.value.uptimeMs : undefined) ?? readyUptimeMs;
  const upSince = health.state === "up" ? (state.upSinceMs ?? atMs) : null;
  const warmForMs = uptimeMs ?? (upSince === null ? 0 : atMs - upSince);
  return {
    body: {
      state: health.state,
      failing: truncateNames([...failing, ...health.wrong]),
      suppressed: truncateNames(ready.ok ? (ready.value.suppressed ?? []) : []),
      uptime_ms: uptimeMs === undefined ? null : Math.floor(uptimeMs),
      warm: health.state === "up" && warmForMs >= warmUpMs,
      worker_reachable: answers.worker === undefined ? ready.ok && !isStopping(health.state) : isReachable(answers.worker),
    },
    state: { upSinceMs: upSince },
    version: startup.ok ? startup.value.version : undefined,
  };
}

function stateOf(
  live: Parsed<unknown>,
  startup: Parsed<z.infer<typeof startupz>>,
  ready: Parsed<z.infer<typeof readyz>>,
  failing: readonly string[],
): { readonly state: SignalBody<"health">["state"]; readonly wrong: readonly string[] } {
  const status = startup.ok ? startup.value.status : undefined;
  if (status === "draining" || failing.includes("gateway-draining")) return { state: "draining", wrong: [] };
  if (status === "starting" || failing.includes("startup-sidecars")) return { state: "starting", wrong: [] };
  const failed = [failureOf("healthz", live), failureOf("readyz", ready)].filter((entry) => entry !== undefined);
  if (failed.some(({ answer }) => answer.kind === "timeout")) return { state: "timeout", wrong: [] };
  if (failed.some(({ answer }) => answer.kind === "refused")) return { state: "refused", wrong: [] };
  if (failed.length > 0) return { state: "not_ready", wrong: failed.map(({ path, answer }) => `${path}: ${describe(answer)}`) };
  return { state: ready.ok && ready.value.ready ? "up" : "not_ready", wrong: [] };
}

const failureOf = (path: string, result: Parsed<unknown>): { path: string; answer: ProbeResult } | undefined =>
  result.ok ? undefined : { path, answer: result.answer };

/** The value of a response whose type, shape and status are consistent. */
function parseResult<T>(answer: ProbeResult, schema: z.ZodType<T>, statusOf: (value: T) => number): Parsed<T> {
  if (answer.kind !== "json") return { ok: false, answer };
  const result = schema.safeParse(answer.value);
  if (!result.success || statusOf(result.data) !== answer.status) return { ok: false, answer };
  return { ok: true, value: result.data };
}

/** Short description of an unexpected response, without its body. */
function describe(answer: ProbeResult): string {
  switch (answer.kind) {
    case "json":
      return `unexpected JSON with status ${answer.status}`;
    case "other":
      return `status ${answer.status} without JSON`;
    case "failed":
      return answer.code;
    default:
      return answer.kind;
  }
}

function isReachable(answer: ProbeResult): boolean {
  return (answer.kind === "json" || answer.kind === "other") && answer.status < 500;
}

function isStopping(state: SignalBody<"health">["state"]): boolean {
  return state === "starting" || state === "draining" || state === "timeout" || state === "refused";
}

/** Truncates to the signal's limits. */
function truncateNames(list: readonly string[]): string[] {
  return list.slice(0, 64).map((name) => name.slice(0, 120));
}
