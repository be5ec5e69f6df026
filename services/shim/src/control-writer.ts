/**
 * What the shim writes: control messages and incidents. Ids come from content; what was stored is remembered for as long as the broker remembers it, so that
 * a controller that repeats itself costs nothing.
 */

import type { Bus } from "@aviary/shared/bus/bus.ts";
import { controlMessage } from "@aviary/shared/contract/control.ts";
import type { Incident } from "@aviary/shared/contract/incident.ts";
import { controlSubject, incidentSubject } from "@aviary/shared/contract/subjects.ts";
import { within } from "@aviary/shared/runtime/abort.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import type { ControlDraft } from "./adapters/control-drafts.ts";
import { createBuckets, LIMITS } from "./limits.ts";
import type { Canary } from "./view.ts";

/** How long a stored id is remembered; the broker's duplicate window. */
const REMEMBER_MS = 10 * 60_000;
const REMEMBERED = 8_192;

export type StoreResult = "stored" | "over_limit" | "not_stored";

export interface ControlWriter {
  /** Stores the sayings one after another, in their order; `stored` when all are. Never rejects, never takes longer than the store limit. */
  store(canary: Canary, sayings: readonly ControlDraft[]): Promise<StoreResult>;
  /** Stores an incident in the background; one that is said again within ten minutes is dropped. */
  storeIncident(incident: Incident): void;
  readonly counts: { stored: number; failed: number; refused: number };
}

export function createControlWriter(bus: Bus, clock: Clock, logger: Logger): ControlWriter {
  const said = new Map<string, number>();
  const limits = createBuckets(LIMITS.controlBurst, LIMITS.controlPerSecond, 4_096);
  const counts = { stored: 0, failed: 0, refused: 0 };
  let waiting = 0;

  const known = (id: string): boolean => {
    const atMs = said.get(id);
    return atMs !== undefined && clock.monotonicMs() - atMs < REMEMBER_MS;
  };
  const remember = (id: string): void => {
    said.delete(id);
    if (said.size >= REMEMBERED) said.delete(said.keys().next().value!);
    said.set(id, clock.monotonicMs());
  };

  const publish = async (subject: string, id: string, data: string): Promise<boolean> => {
    if (known(id)) return true;
    if (waiting >= LIMITS.unstored) return false;
    waiting += 1;
    const stored = bus.publish({ subject, id, data }).then(
      () => true,
      (error: unknown) => {
        logger.warn({ err: error, subject }, "a message was not stored");
        return false;
      },
    );
    void stored.then((ok) => {
      waiting -= 1;
      if (ok) remember(id);
      counts[ok ? "stored" : "failed"] += 1;
    });
    return (await within(clock, LIMITS.storeMs, stored)) ?? false;
  };

  return {
    counts,
    async store(canary, sayings) {
      const at = new Date(clock.now()).toISOString();
      for (const { content, discriminator } of sayings) {
        const message = controlMessage(canary.ref, content, at, discriminator);
        if (known(message.id)) continue;
        if (!limits.take(canary.key, clock.monotonicMs())) {
          counts.refused += 1;
          logger.warn(
            { canary: canary.key, verb: content.verb },
            "too many control messages for one canary; this one is not stored",
          );
          return "over_limit";
        }
        const subject = controlSubject(canary.entry.fleet, canary.ref, content.verb);
        if (!(await publish(subject, message.id, JSON.stringify(message)))) return "not_stored";
      }
      return "stored";
    },
    storeIncident(incident) {
      const subject = incidentSubject(incident.subject, incident.code);
      void publish(subject, incident.id, JSON.stringify(incident));
    },
  };
}
