/**
 * Writes control messages and incidents. Ids derive from content, and stored ids are cached for the broker's duplicate window:
 * a controller that repeats a request causes no write.
 */

import type { Bus, Outgoing } from "@aviary/shared/bus/bus.ts";
import { type Control, controlMessage } from "@aviary/shared/contract/control.ts";
import { type Incident, incidentMessage } from "@aviary/shared/contract/incident.ts";
import { controlSubject } from "@aviary/shared/contract/subjects.ts";
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
  /**
   * Stores the drafts in order. Drafts that the broker does not store are kept, up to a limit, and stored in order once it responds
   * again. Gate calls are not kept, because their callers repeat them. Never rejects; each write waits for at most the store
   * timeout.
   */
  store(canary: Canary, drafts: readonly ControlDraft[]): Promise<StoreResult>;
  /** Stores an incident in the background; a duplicate within ten minutes is dropped. */
  storeIncident(incident: Incident): void;
  /** Drops all kept messages. */
  stop(): void;
  readonly counts: { stored: number; failed: number; overLimit: number };
}

export function createControlWriter(bus: Bus, clock: Clock, logger: Logger): ControlWriter {
  const storedAtMs = new Map<string, number>();
  const limits = createBuckets(LIMITS.controlBurst, LIMITS.controlPerSecond, 4_096);
  const counts = { stored: 0, failed: 0, overLimit: 0 };
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

  const publish = async (message: Outgoing & { readonly id: string }): Promise<boolean> => {
    const { id, subject } = message;
    if (isStored(id)) return true;
    if (pending >= LIMITS.pendingWrites) return false;
    pending += 1;
    const stored = bus.publish(message).then(
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

  /** Messages that the broker did not store, oldest first. */
  const kept: KeptMessage[] = [];
  let cancelRetry: (() => void) | undefined;

  const keep = (message: KeptMessage): void => {
    if (kept.length >= LIMITS.keptMessages) {
      const { canary, control } = kept.shift()!;
      logger.error(
        { event: "control_message.dropped", canary: canary.key, verb: control.verb },
        "too many unstored control messages",
      );
    }
    kept.push(message);
    retryLater();
  };
  const retryLater = (): void => {
    cancelRetry ??= clock.setTimer(LIMITS.retryStoreMs, () => void retry(), { background: true });
  };
  const retry = async (): Promise<void> => {
    for (let first = kept[0]; first !== undefined; first = kept[0]) {
      if (!(await send(first))) break;
      if (kept[0] === first) kept.shift();
    }
    cancelRetry = undefined;
    if (kept.length > 0) retryLater();
  };
  const send = async ({ canary, control }: KeptMessage): Promise<boolean> => {
    const subject = controlSubject(canary.entry.fleet, canary.ref, control.verb);
    if (!(await publish({ subject, data: JSON.stringify(control), id: control.id }))) return false;
    const { verb, caller, id } = control;
    logger.info({ event: "control_message.accepted", canary: canary.key, verb, caller, id }, "control message stored");
    return true;
  };

  return {
    counts,
    async store(canary, drafts) {
      const at = new Date(clock.now()).toISOString();
      let isLate = false;
      for (const { content, discriminator } of drafts) {
        const control = controlMessage(canary.ref, content, at, discriminator);
        if (isStored(control.id) || kept.some((message) => message.control.id === control.id)) continue;
        if (!limits.take(canary.key, clock.monotonicMs())) {
          counts.overLimit += 1;
          const fields = { canary: canary.key, verb: content.verb, caller: content.caller };
          logger.warn({ event: "control_message.over_limit", ...fields }, "too many control messages for one canary; dropped");
          return "over_limit";
        }
        // Messages kept for the canary were reported earlier and must be stored first.
        isLate ||= kept.some((message) => message.canary.key === canary.key);
        if (!isLate && (await send({ canary, control }))) continue;
        isLate = true;
        // The caller of a gate was rejected and calls again; other calls are not repeated.
        if (control.verb !== "gate") keep({ canary, control });
      }
      return isLate ? "not_stored" : "stored";
    },
    storeIncident(incident) {
      void publish(incidentMessage(incident));
    },
    stop: () => cancelRetry?.(),
  };
}

interface KeptMessage {
  readonly canary: Canary;
  readonly control: Control;
}
