/**
 * Who was not let in, and why: one line in the log with the namespace, the canary and the number of the measurement, and an incident. Both
 * are bounded: a source that keeps trying is counted and not told about again and again.
 */
import { incident } from "@aviary/shared/contract/incident.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import { createBuckets, LIMITS } from "../limits.ts";
import { findCanary, type Identity } from "../request/canary-lookup.ts";
import { type CallOrigin, indexOf } from "../response/measurement.ts";
import type { Context } from "../route.ts";

/** What is known of a request that was refused. */
export interface Refused {
  readonly source: string;
  readonly path: string;
  readonly method: string;
  readonly reason: string;
  readonly text: string;
  readonly token: string | undefined;
  readonly identity: Identity;
}

export interface Refusals {
  note(refused: Refused): void;
  readonly count: number;
}

/** Incidents of one shim: a few at once, then one in five minutes. The same source and reason is one incident an hour. */
const INCIDENT_BURST = 10;
const INCIDENT_PER_SECOND = 1 / 300;
const HOUR_MS = 3_600_000;

export function createRefusals(context: Context, clock: Clock, logger: Logger): Refusals {
  const lines = createBuckets(LIMITS.refusalBurst, LIMITS.refusalPerSecond, LIMITS.sources);
  const incidents = createBuckets(INCIDENT_BURST, INCIDENT_PER_SECOND, 1);
  const told = new Map<string, number>();
  const silent = new Map<string, number>();
  let count = 0;

  const isNew = (key: string, hour: number): boolean => {
    if (told.get(key) === hour) return false;
    told.delete(key);
    if (told.size >= LIMITS.sources) told.delete(told.keys().next().value!);
    told.set(key, hour);
    return true;
  };

  return {
    get count() {
      return count;
    },
    note(refused) {
      count += 1;
      const { source, path, method, reason, text, token, identity } = refused;
      if (!lines.take(source, clock.monotonicMs())) {
        if (silent.size < LIMITS.sources || silent.has(source)) silent.set(source, (silent.get(source) ?? 0) + 1);
        return;
      }
      const { canary } = findCanary([...context.view.canaries.values()], identity, "");
      const { namespace, name } = canary?.ref ?? { namespace: identity.namespace ?? null, name: identity.name ?? null };
      const index = canary === undefined ? null : indexOf(canary, placeOf(path).dialect, placeOf(path), context);
      const facts = {
        namespace,
        name,
        measurement_index: index,
        source,
        path: path.slice(0, 100),
        method,
        reason,
        token: token ?? null,
      };
      const suppressed = silent.get(source) ?? 0;
      silent.delete(source);
      const challenge = isChallenge(refused);
      logger[challenge ? "info" : "warn"](
        { event: "auth.refused", ...facts, ...(suppressed > 0 ? { suppressed } : {}) },
        `refused: ${text}`,
      );
      if (challenge) return;
      const hour = Math.floor(clock.now() / HOUR_MS);
      if (!isNew(`${source} ${reason} ${canary?.key ?? ""}`, hour) || !incidents.take("all", clock.monotonicMs())) return;
      const subject = canary === undefined ? {} : { subject: { ...canary.ref, fleet: canary.entry.fleet } };
      const at = new Date(clock.now()).toISOString();
      context.outbox.report(incident("auth_failed", at, `${source}|${reason}|${token ?? ""}|${hour}`, subject, facts));
    },
  };
}

/**
 * A browser requests a page once without credentials and sends them after the 401 (RFC 9110, section 11.6.1): that is no failure.
 * A controller always sends its token, so on its routes missing credentials are one.
 */
function isChallenge({ reason, path }: Refused): boolean {
  return reason === "missing_credentials" && !/^\/(flagger|rollouts|keda|flux)(\/|$)/.test(path);
}

function placeOf(path: string): CallOrigin {
  if (path.startsWith("/keda/")) return { dialect: "keda", seat: "scale" };
  return { dialect: path.startsWith("/rollouts/") ? "rollouts" : "flagger", seat: "judge" };
}
