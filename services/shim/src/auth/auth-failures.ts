/**
 * Records rejected requests: one log line with the namespace, the canary and the measurement index, and one incident.
 * Both are rate-limited per source. Suppressed lines are counted, and the next line reports the count.
 *
 * A challenge is a browser's first request without credentials (RFC 9110, section 11.6.1): logged at `info`, never an incident.
 * Challenges have their own rate limit, because an ingress shows many browsers and controllers as one source:
 * page loads must not suppress the record of a wrong token.
 */
import { incident } from "@aviary/shared/contract/incident.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import { createBuckets, LIMITS } from "../limits.ts";
import { type CanaryIdentity, findCanary } from "../request/canary-lookup.ts";
import { type CallOrigin, measurementIndexOf } from "../response/canary-answer.ts";
import type { ShimContext } from "../route.ts";

/** A rejected request, with the facts that are known. */
export interface RejectedRequest {
  readonly source: string;
  readonly path: string;
  readonly method: string;
  readonly reason: string;
  readonly text: string;
  /** The first digits of the token's hash, for a token from the token file. */
  readonly token: string | undefined;
  readonly identity: CanaryIdentity;
}

export interface AuthFailures {
  record(rejected: RejectedRequest): void;
  /** Rejected requests since the start, challenges included. */
  readonly count: number;
}

/** Incidents of one shim: a short burst, then one per five minutes. The same source and reason is one incident per hour. */
const INCIDENT_BURST = 10;
const INCIDENT_PER_SECOND = 1 / 300;
const HOUR_MS = 3_600_000;

export function createAuthFailures(context: ShimContext, clock: Clock, logger: Logger): AuthFailures {
  const challenges = createLineLimit(clock);
  const failures = createLineLimit(clock);
  const incidents = createBuckets(INCIDENT_BURST, INCIDENT_PER_SECOND, 1);
  const isFirstThisHour = createHourlyFilter();
  let count = 0;

  const raiseIncident = (rejected: RejectedRequest, canary: ReturnType<typeof canaryOf>, facts: RejectionFacts): void => {
    const hour = Math.floor(clock.now() / HOUR_MS);
    const { source, reason, token } = rejected;
    if (!isFirstThisHour(`${source} ${reason} ${canary?.key ?? ""}`, hour)) return;
    if (!incidents.take("all", clock.monotonicMs())) return;
    const subject = canary === undefined ? {} : { subject: { ...canary.ref, fleet: canary.entry.fleet } };
    const at = new Date(clock.now()).toISOString();
    context.controlWriter.storeIncident(
      incident("auth_failed", at, `${source}|${reason}|${token ?? ""}|${hour}`, subject, facts),
    );
  };

  return {
    get count() {
      return count;
    },
    record(rejected) {
      count += 1;
      const challenge = isChallenge(rejected);
      const allowed = (challenge ? challenges : failures).take(rejected.source);
      if (allowed === undefined) return;
      const canary = canaryOf(rejected, context);
      const facts = factsOf(rejected, canary, context);
      const fields = { ...loggable(facts), ...(allowed.suppressed > 0 ? { suppressed: allowed.suppressed } : {}) };
      if (challenge) {
        logger.info({ event: "auth.challenged", ...fields }, `challenged: ${rejected.text}`);
        return;
      }
      logger.warn({ event: "auth.refused", ...fields }, `refused: ${rejected.text}`);
      raiseIncident(rejected, canary, facts);
    },
  };
}

/** Limits the log lines per source; returns the number suppressed since the last line, or `undefined` for a line to suppress. */
function createLineLimit(clock: Clock): { take(source: string): { readonly suppressed: number } | undefined } {
  const lines = createBuckets(LIMITS.rejectionLogBurst, LIMITS.rejectionLogsPerSecond, LIMITS.sources);
  const suppressedBySource = new Map<string, number>();
  return {
    take(source) {
      const suppressed = suppressedBySource.get(source) ?? 0;
      if (lines.take(source, clock.monotonicMs())) {
        suppressedBySource.delete(source);
        return { suppressed };
      }
      if (suppressed > 0 || suppressedBySource.size < LIMITS.sources) suppressedBySource.set(source, suppressed + 1);
      return undefined;
    },
  };
}

/** Returns whether a key appears for the first time in its hour; keeps a bounded number of keys, dropping the oldest. */
function createHourlyFilter(): (key: string, hour: number) => boolean {
  const lastHour = new Map<string, number>();
  return (key, hour) => {
    if (lastHour.get(key) === hour) return false;
    lastHour.delete(key);
    if (lastHour.size >= LIMITS.sources) lastHour.delete(lastHour.keys().next().value!);
    lastHour.set(key, hour);
    return true;
  };
}

function canaryOf({ identity }: RejectedRequest, context: ShimContext) {
  return findCanary([...context.view.canaries.values()], identity, "").canary;
}

type RejectionFacts = ReturnType<typeof factsOf>;

function factsOf(rejected: RejectedRequest, canary: ReturnType<typeof canaryOf>, context: ShimContext) {
  const { source, path, method, reason, token, identity } = rejected;
  const { namespace, name } = canary?.ref ?? { namespace: identity.namespace ?? null, name: identity.name ?? null };
  const origin = originOf(path);
  return {
    namespace,
    name,
    measurement_index: canary === undefined ? null : measurementIndexOf(canary, origin.dialect, origin, context),
    source,
    path: path.slice(0, 100),
    method,
    reason,
    token: token ?? null,
  };
}

/** The facts for a log line: the logger redacts a field named `token`, and hash digits are not secret. */
function loggable({ token, ...facts }: RejectionFacts) {
  return { ...facts, token_id: token };
}

/** Controllers always send their token, so missing credentials on a controller's route are a failure. */
function isChallenge({ reason, path }: RejectedRequest): boolean {
  return reason === "missing_credentials" && !/^\/(flagger|rollouts|keda)(\/|$)/.test(path);
}

function originOf(path: string): CallOrigin {
  if (path.startsWith("/keda/")) return { dialect: "keda", role: "scale" };
  return { dialect: path.startsWith("/rollouts/") ? "rollouts" : "flagger", role: "judge" };
}
