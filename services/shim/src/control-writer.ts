/**
 * Writes control messages and incidents. Ids derive from content, and stored ids are cached for the broker's duplicate window:
 * a controller that repeats a request causes no write.
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

/** How long a stored id is cached: the broker's duplicate window. */
const CACHED_MS = 10 * 60_000;
const MAX_CACHED_IDS = 8_192;

export type StoreResult = "stored" | "over_limit" | "not_stored";

export interface ControlWriter {
  /** Stores the drafts in order and stops at the first failure. Never rejects; each write waits for at most the store timeout. */
  store(canary: Canary, drafts: readonly ControlDraft[]): Promise<StoreResult>;
  /** Stores an incident in the background; a duplicate within ten minutes is dropped. */
  storeIncident(incident: Incident): void;
  readonly counts: { stored: number; failed: number; refused: number };
}

export function createControlWriter(bus: Bus, clock: Clock, logger: Logger): ControlWriter {
  const storedAtMs = new Map<string, number>();
  const limits = createBuckets(LIMITS.controlBurst, LIMITS.controlPerSecond, 4_096);
  const counts = { stored: 0, failed: 0, refused: 0 };
  let pending = 0;

  const isStored = (id: string): boolean => {
    const atMs = storedAtMs.get(id);
    return atMs !== undefined && clock.monotonicMs() - atMs < CACHED_MS;
  };
  const remember = (id: string): void => {
    storedAtMs.delete(id);
    if (storedAtMs.size >= MAX_CACHED_IDS) storedAtMs.delete(storedAtMs.keys().next().value!);
    storedAtMs.set(id, clock.monotonicMs());
  };

  const publish = async (subject: string, id: string, data: string): Promise<boolean> => {
    if (isStored(id)) return true;
    if (pending >= LIMITS.unstored) return false;
    pending += 1;
    const stored = bus.publish({ subject, id, data }).then(
      () => true,
      (error: unknown) => {
        logger.warn({ event: "message.store_failed", err: error, subject }, "could not store a message on the bus");
        return false;
      },
    );
    void stored.then((ok) => {
      pending -= 1;
      if (ok) remember(id);
      counts[ok ? "stored" : "failed"] += 1;
    });
    return (await within(clock, LIMITS.storeMs, stored)) ?? false;
  };

  return {
    counts,
    async store(canary, drafts) {
      const at = new Date(clock.now()).toISOString();
      for (const { content, discriminator } of drafts) {
        const message = controlMessage(canary.ref, content, at, discriminator);
        if (isStored(message.id)) continue;
        if (!limits.take(canary.key, clock.monotonicMs())) {
          counts.refused += 1;
          const fields = { canary: canary.key, verb: content.verb, caller: content.caller };
          logger.warn({ event: "control_message.over_limit", ...fields }, "too many control messages for one canary; dropped");
          return "over_limit";
        }
        const subject = controlSubject(canary.entry.fleet, canary.ref, content.verb);
        if (!(await publish(subject, message.id, JSON.stringify(message)))) return "not_stored";
        const fields = { canary: canary.key, verb: content.verb, caller: content.caller, id: message.id };
        logger.info({ event: "control_message.accepted", ...fields }, "control message stored");
      }
      return "stored";
    },
    storeIncident(incident) {
      const subject = incidentSubject(incident.subject, incident.code);
      void publish(subject, incident.id, JSON.stringify(incident));
    },
  };
}
