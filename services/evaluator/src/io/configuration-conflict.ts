/**
 * Reports that two evaluators judge by different configurations. Which of them leads is chance, so their verdicts would alternate.
 * A standby compares its own configuration with the one that the leader keeps in the lease.
 */
import type { Bus } from "@aviary/shared/bus/bus.ts";
import { incident, incidentMessage } from "@aviary/shared/contract/incident.ts";
import { isoTime } from "@aviary/shared/contract/iso-time.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import type { LeaseOwner } from "@aviary/shared/runtime/lease.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";

/** A difference is reported once it has lasted this long: during a rolling update the replicas differ for a moment. */
export const REPORT_AFTER_MS = 60_000;
/** Pause after a report that could not be published. */
const RETRY_AFTER_MS = 10_000;

export interface ConfigurationWatch {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Logger;
  /** This process in the lease. */
  readonly self: LeaseOwner;
}

/**
 * Returns a function to call with every reading of the leader's lease. It publishes one incident `config_differs` per pair of
 * configurations. A leader that states none is of an older version and is not compared.
 */
export function watchLeaderConfiguration({ bus, clock, log, self }: ConfigurationWatch): (leader: LeaseOwner) => void {
  let other: string | undefined;
  let reportAtMs = 0;
  return (leader) => {
    const differs = leader.config !== undefined && leader.config !== self.config;
    if (!differs || leader.config !== other) {
      other = differs ? leader.config : undefined;
      reportAtMs = clock.monotonicMs() + REPORT_AFTER_MS;
      return;
    }
    if (clock.monotonicMs() < reportAtMs) return;
    reportAtMs = Number.POSITIVE_INFINITY;
    const facts = { leader: leader.holder, leader_config: leader.config!, standby: self.holder, standby_config: self.config! };
    log.error(
      { event: "configuration.differs", ...facts },
      "this standby and the leader have different fleet files or policies: deploy the same files to every replica",
    );
    const report = incident("config_differs", isoTime(clock.now()), `${leader.config}|${self.config}`, {}, facts);
    bus.publish(incidentMessage(report)).catch(() => {
      reportAtMs = clock.monotonicMs() + RETRY_AFTER_MS;
    });
  };
}
