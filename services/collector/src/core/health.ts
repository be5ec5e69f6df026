/**
 * What three answers of an OpenClaw gateway amount to. A bare 200 says nothing: the gateway's control page answers unknown paths with 200 and HTML,
 * and `/healthz` stays 200 while the gateway drains. So an answer counts only when its type is JSON and its shape is the route's own.
 *
 *     first that holds                                             state
 *     startupz or readyz say that it drains                        draining
 *     startupz or readyz say that it starts                        starting
 *     healthz or readyz gave no answer in time                     timeout      (the process hangs: it still accepts connections)
 *     healthz or readyz could not be reached                       refused
 *     healthz or readyz answered something that they never say     not_ready, with what was wrong in `failing`
 *     readyz says not ready                                        not_ready, with its own `failing`
 *     else                                                         up; channels that were not started on purpose are in `suppressed`
 *
 * Gateways before 2026.8.1 have no `/startupz`: without it everything but the version is known.
 */
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import { z } from "zod";

export type ProbeResult =
  | { readonly kind: "json"; readonly status: number; readonly value: unknown }
  /** HTTP, but not JSON. */
  | { readonly kind: "other"; readonly status: number }
  | { readonly kind: "timeout" }
  | { readonly kind: "refused" }
  /** The call failed in another way; a short code. */
  | { readonly kind: "failed"; readonly code: string };

export interface GatewayProbeResults {
  readonly healthz: ProbeResult;
  readonly startupz: ProbeResult;
  readonly readyz: ProbeResult;
  /** The answer of the worker's or the VIP's own path, where one is configured. */
  readonly worker: ProbeResult | undefined;
}

export interface HealthState {
  /** Since when every reading said up; for gateways that do not tell their uptime. */
  readonly upSinceMs: number | null;
}

export interface Health {
  readonly body: SignalBody<"health">;
  readonly state: HealthState;
  /** The version that runs, where `/startupz` tells. */
  readonly version: string | undefined;
}

const uptime = z.number().min(0).optional();
const names = z.array(z.string()).catch([]);
const healthz = z.object({ ok: z.literal(true), status: z.literal("live") });
const startupz = z.discriminatedUnion("status", [
  z.object({ ok: z.literal(true), status: z.literal("started"), version: z.string().optional(), uptimeMs: uptime }),
  z.object({ ok: z.literal(false), status: z.literal("starting"), version: z.string().optional(), uptimeMs: uptime }),
  z.object({ ok: z.literal(false), status: z.literal("draining"), version: z.string().optional(), uptimeMs: uptime }),
]);
const readyz = z.object({ ready: z.boolean(), failing: names.optional(), suppressed: names.optional(), uptimeMs: uptime });

type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly answer: ProbeResult };

/** The health of a gateway at `at`, milliseconds since the epoch. */
export function classifyHealth(answers: GatewayProbeResults, state: HealthState, at: number, warmUpMs: number): Health {
  const live = parseResult(answers.healthz, healthz, () => 200);
  const startup = parseResult(answers.startupz, startupz, (value) => (value.ok ? 200 : 503));
  const ready = parseResult(answers.readyz, readyz, (value) => (value.ready ? 200 : 503));
  const failing = ready.ok ? (ready.value.failing ?? []) : [];

  const health = stateOf(live, startup, ready, failing);
  // A readiness check that threw says 0, which is not an uptime.
  const readyUptimeMs = ready.ok && !failing.includes("internal") ? ready.value.uptimeMs : undefined;
  const uptimeMs = (startup.ok ? startup.value.uptimeMs : undefined) ?? readyUptimeMs;
  const upSince = health.state === "up" ? (state.upSinceMs ?? at) : null;
  const warmForMs = uptimeMs ?? (upSince === null ? 0 : at - upSince);
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

/** The value of an answer whose type, shape and status agree. */
function parseResult<T>(answer: ProbeResult, schema: z.ZodType<T>, statusOf: (value: T) => number): Parsed<T> {
  if (answer.kind !== "json") return { ok: false, answer };
  const result = schema.safeParse(answer.value);
  if (!result.success || statusOf(result.data) !== answer.status) return { ok: false, answer };
  return { ok: true, value: result.data };
}

/** Too few letters for a body, enough to know where to look. */
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

/** At most what a signal may carry. */
function truncateNames(list: readonly string[]): string[] {
  return list.slice(0, 64).map((name) => name.slice(0, 120));
}
