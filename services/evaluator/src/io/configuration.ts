/**
 * Keeps the leader's configuration of each canary in the log. It is written when the log has another one, and again every day,
 * because the log has an age limit. A log thus has a first message, from which deadlines count, even if no gateway ever reports.
 */
import type { Bus } from "@aviary/shared/bus/bus.ts";
import { controlMessage } from "@aviary/shared/contract/control.ts";
import { isoTime } from "@aviary/shared/contract/iso-time.ts";
import { controlSubject } from "@aviary/shared/contract/subjects.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import { repeat } from "@aviary/shared/runtime/repeat.ts";
import type { CanaryConfig, ResolvedConfig } from "../core/resolved-config.ts";
import type { State } from "../core/state.ts";

export interface ConfigurationRecord {
  readonly bus: Bus;
  readonly config: ResolvedConfig;
  readonly clock: Clock;
  readonly log: Logger;
  /** Whether the leader has caught up with the log. */
  readonly state: State;
  /** The first message that this leader applied. */
  readonly fromSequence: number;
  /** Whether this process still leads; otherwise another leader's record would be overwritten. */
  readonly isLeading: () => boolean;
  /** Ends the loop. */
  readonly signal: AbortSignal;
}

/** The interval at which the log is compared with the files and a failed write is retried. */
const COMPARE_EVERY_MS = 10_000;
/** The log keeps three days. */
const REPEAT_AFTER_MS = 24 * 3_600_000;

/** Runs until the signal aborts; never rejects. A record that cannot be stored is logged once per cause and has no other effect. */
export async function keepConfiguration(record: ConfigurationRecord): Promise<void> {
  const { log, clock, signal } = record;
  const onFailure = (error: unknown): void =>
    log.warn({ event: "configuration.not_recorded", err: error }, "could not record the configuration in the log; retrying");
  await repeat({ clock, everyMs: COMPARE_EVERY_MS, signal, onFailure }, () => recordChanges(record));
}

/** Publishes one `configure` message per canary whose record is missing, different or old. */
async function recordChanges(record: ConfigurationRecord): Promise<void> {
  for (const canary of record.config.canaries.values()) {
    if (record.signal.aborted || !record.isLeading()) return;
    const { configHash, configuredAtMs } = record.state.canaries.get(canary.key)!;
    const isCurrent = configHash === canary.configHash && record.state.nowMs - configuredAtMs < REPEAT_AFTER_MS;
    if (!isCurrent) await publishRecord(record, canary);
  }
}

async function publishRecord({ bus, clock, fromSequence }: ConfigurationRecord, canary: CanaryConfig): Promise<void> {
  const { configHash: hash, policy, ref, fleet } = canary;
  const content = {
    ...({ verb: "configure", caller: "evaluator" } as const),
    hash,
    from_sequence: fromSequence,
    policy: { ...policy },
  };
  // Every write is intended, so the broker must not treat it as a duplicate of an earlier one.
  const at = isoTime(clock.now());
  const message = controlMessage(ref, content, at, at);
  await bus.publish({ subject: controlSubject(fleet, ref, content.verb), data: JSON.stringify(message), id: message.id });
}
