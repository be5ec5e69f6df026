/**
 * Writes the configuration of each canary to the log if it is not the one that the log names last. A replay then shows which
 * policy judged which windows; and a log has a first message, from which deadlines count, even if no gateway ever reports.
 */
import type { Bus } from "@aviary/shared/bus/bus.ts";
import { controlMessage } from "@aviary/shared/contract/control.ts";
import { isoTime } from "@aviary/shared/contract/iso-time.ts";
import { controlSubject } from "@aviary/shared/contract/subjects.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import type { ResolvedConfig } from "../core/resolved-config.ts";
import type { State } from "../core/state.ts";

export interface ConfigurationRecord {
  readonly bus: Bus;
  readonly config: ResolvedConfig;
  readonly clock: Clock;
  /** Caught up with the log. */
  readonly state: State;
}

/** Publishes one `configure` message per canary whose configuration changed. Rejects if the broker does not store one. */
export async function recordConfiguration({ bus, config, clock, state }: ConfigurationRecord): Promise<void> {
  for (const canary of config.canaries.values()) {
    if (state.canaries.get(canary.key)!.configHash === canary.configHash) continue;
    const content = { verb: "configure", caller: "evaluator", hash: canary.configHash, policy: { ...canary.policy } } as const;
    // Two changes to and fro are two messages: the position separates them.
    const message = controlMessage(canary.ref, content, isoTime(clock.now()), String(state.sequence));
    const subject = controlSubject(canary.fleet, canary.ref, content.verb);
    await bus.publish({ subject, data: JSON.stringify(message), id: message.id });
  }
}
