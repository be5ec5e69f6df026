/** The API of the CLI and the dashboard: complete bodies, lanes, history. */
import { REASONS } from "@aviary/shared/contract/reasons.ts";
import { verdictSubject } from "@aviary/shared/contract/subjects.ts";
import { parseVerdictRecord, type VerdictBody } from "@aviary/shared/contract/verdict.ts";
import { LIMITS } from "../limits.ts";
import { listNames } from "../request/canary-lookup.ts";
import { visibleTo } from "../response/canary-answer.ts";
import { json, problem } from "../response/reply.ts";
import type { Call, HandlerResult, Route, ShimContext } from "../route.ts";
import type { Canary } from "../view.ts";

/** Maximum number of canaries that an error message lists. */
const MAX_LISTED = 10;

/** One canary as the API shows it. */
export function canaryJson(canary: Canary, context: ShimContext) {
  const { answer } = context.view.prepared(canary);
  const lanes = canary.entry.lanes.map((lane) => ({ lane, record: context.view.lane(lane) ?? null }));
  return { ...answer.body, stale: answer.stale, lanes };
}

function evaluatorJson(context: ShimContext) {
  const ageMs = context.view.leaseAgeMs();
  return { lease_age_ms: Number.isFinite(ageMs) ? Math.round(ageMs) : null, bus: context.bus.status, server: context.bus.server };
}

function listCanaries(call: Call, context: ShimContext): HandlerResult {
  const canaries = visibleTo(call.caller, context).map((canary) => canaryJson(canary, context));
  return json({ now: new Date(context.clock.now()).toISOString(), evaluator: evaluatorJson(context), canaries });
}

function findByPath(call: Call, context: ShimContext): Canary | undefined {
  const [namespace, name] = call.params;
  return visibleTo(call.caller, context).find(({ ref }) => ref.namespace === namespace && ref.name === name);
}

/** A 404 that lists the canaries which the caller may read. */
function canaryNotFound(call: Call, context: ShimContext): HandlerResult {
  const known = listNames(visibleTo(call.caller, context), MAX_LISTED) || "none";
  return problem(404, "not_found", `no canary ${call.params.join("/").slice(0, 140)} is configured; configured: ${known}`);
}

function getCanary(call: Call, context: ShimContext): HandlerResult {
  const canary = findByPath(call, context);
  if (canary === undefined) return canaryNotFound(call, context);
  const view = canaryJson(canary, context);
  const codes = [...new Set([...view.reasons, ...view.warnings].map(({ code }) => code))];
  const meanings = Object.fromEntries(codes.map((code) => [code, REASONS[code].meaning]));
  const evidence = context.view.record(canary.key)?.evidence ?? null;
  return json({ ...view, now: new Date(context.clock.now()).toISOString(), meanings, evidence });
}

function historyEntry(body: VerdictBody) {
  const { id, at, verdict, degraded, window, run, canary, stable, reasons } = body;
  return {
    id,
    at,
    verdict,
    degraded,
    window,
    run: run === null ? null : { id: run.id, state: run.state, revision: run.revision, weight: run.weight },
    canary,
    stable,
    reasons,
  };
}

const readers = { active: 0 };

/** Serves the newest `limit` verdicts of the last hours, oldest first. */
async function getHistory(call: Call, context: ShimContext): Promise<HandlerResult> {
  const canary = findByPath(call, context);
  if (canary === undefined) return canaryNotFound(call, context);
  const limit = wholeNumber(call.query.get("limit"), 50, LIMITS.historyEntries);
  const hours = wholeNumber(call.query.get("hours"), 24, 30 * 24);
  if (limit === undefined || hours === undefined) {
    return problem(400, "bad_data", `limit must be a whole number from 1 to ${LIMITS.historyEntries}, hours from 1 to 720`);
  }
  if (readers.active >= LIMITS.historyReaders) return problem(503, "busy", "too many concurrent history reads; retry");
  readers.active += 1;
  try {
    return json(await readHistory(canary, limit, context.clock.now() - hours * 3_600_000, context));
  } finally {
    readers.active -= 1;
  }
}

async function readHistory(canary: Canary, limit: number, fromMs: number, context: ShimContext) {
  const entries: ReturnType<typeof historyEntry>[] = [];
  const decoder = new TextDecoder();
  let omitted = 0;
  const follower = await context.bus.follow({
    stream: "VERDICTS",
    subjects: [verdictSubject(canary.ref)],
    from: { time: Math.max(0, fromMs) },
    onMessage: (message) => {
      if (message.storedAtMs < fromMs) return;
      const parsed = parseVerdictRecord(safeJson(decoder.decode(message.data)));
      if (!parsed.success) return;
      entries.push(historyEntry(parsed.data.body));
      if (entries.length > limit) {
        entries.shift();
        omitted += 1;
      }
    },
  });
  let cancel = (): void => {};
  const timedOut = new Promise<"timed-out">((resolve) => {
    cancel = context.clock.setTimer(LIMITS.historyMs, () => resolve("timed-out"), { background: true });
  });
  const outcome = await Promise.race([follower.caughtUp.then(() => "complete" as const), timedOut]).finally(cancel);
  await follower.stop();
  return {
    namespace: canary.ref.namespace,
    name: canary.ref.name,
    complete: outcome === "complete",
    left_out: omitted,
    entries: [...entries],
  };
}

function safeJson(source: string): unknown {
  try {
    return JSON.parse(source);
  } catch {
    return undefined;
  }
}

function wholeNumber(text: string | null, fallback: number, max: number): number | undefined {
  if (text === null) return Math.min(fallback, max);
  return /^\d{1,6}$/.test(text) && Number(text) >= 1 && Number(text) <= max ? Number(text) : undefined;
}

export const API_ROUTES: readonly Route[] = [
  {
    path: "/api/v1/canaries",
    methods: ["GET"],
    summary: "All canaries with their verdicts and lanes",
    responseKind: "json",
    handle: listCanaries,
  },
  {
    path: "/api/v1/canaries/{namespace}/{name}",
    methods: ["GET"],
    summary: "One canary in full, with its evidence",
    responseKind: "json",
    handle: getCanary,
  },
  {
    path: "/api/v1/canaries/{namespace}/{name}/history",
    methods: ["GET"],
    summary: "Verdicts of the last hours (limit, hours)",
    responseKind: "json",
    handle: getHistory,
  },
];
