/** Publishes a control message and follows the canary's verdicts until one shows its effect. */
import type { Bus, Stored, StoredMessage } from "@aviary/shared/bus/bus.ts";
import type { Control } from "@aviary/shared/contract/control.ts";
import { EVALUATOR_LEASE_KEY } from "@aviary/shared/contract/lease.ts";
import { type CanaryRef, controlSubject, verdictSubject } from "@aviary/shared/contract/subjects.ts";
import { parseVerdictRecord } from "@aviary/shared/contract/verdict.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import { type ControlEffect, type RunSummary, showsEffect, summaryOf } from "./control-effect.ts";

/** How long an effect may take: the evaluator applies a message within a second, and a new leader within a few. */
const EFFECT_WITHIN_MS = 10_000;

export interface ControlRequest {
  readonly fleet: string;
  readonly canary: CanaryRef;
  readonly message: Control;
}

export interface AppliedControl {
  readonly stored: Stored;
  readonly effect: ControlEffect;
  /** Whether an evaluator renewed its lease meanwhile; otherwise the message was not applied. */
  readonly hasLeader: boolean;
}

/** @throws a fault of the bus; no effect within ten seconds is a result */
export async function applyControl(bus: Bus, request: ControlRequest, clock: Clock): Promise<AppliedControl> {
  const { fleet, canary, message } = request;
  const verdicts = verdictSubject(canary);
  const last = await bus.last("VERDICTS", verdicts);
  const subject = controlSubject(fleet, canary, message.verb);
  const stored = await bus.publish({ subject, id: message.id, data: JSON.stringify(message) });
  const storedAtMs = await storeTimeOf(bus, subject, stored);
  const leaseBefore = await leaseRevision(bus);
  let before = last === undefined ? null : summaryIn(last);
  let after: RunSummary | null = null;
  const done = Promise.withResolvers<boolean>();
  const follower = await bus.follow({
    stream: "VERDICTS",
    subjects: [verdicts],
    from: last === undefined ? "all" : { sequence: last.sequence + 1 },
    onMessage: (found) => {
      const summary = summaryIn(found);
      if (summary === null) return;
      // A verdict has the time of the message that caused it, so an earlier verdict cannot reflect this message.
      if (Date.parse(summary.at) < storedAtMs) {
        before = summary;
        return;
      }
      after = summary;
      if (showsEffect(message, before, summary)) done.resolve(true);
    },
    onEnd: (error) => done.reject(error ?? terminal("bus_closed", "the bus was closed")),
  });
  const cancel = clock.setTimer(EFFECT_WITHIN_MS, () => done.resolve(false));
  try {
    const changed = await done.promise;
    const hasLeader = after !== null || (await leaseRevision(bus)) !== leaseBefore;
    return { stored, effect: { before, after, changed }, hasLeader };
  } finally {
    cancel();
    await follower.stop();
  }
}

async function leaseRevision(bus: Bus): Promise<number | undefined> {
  return (await (await bus.bucket("lease")).get(EVALUATOR_LEASE_KEY))?.revision;
}

/** The broker's store time of a message that was just stored. @throws Terminal `not_stored` if the log does not contain it */
async function storeTimeOf(bus: Bus, subject: string, { sequence }: Stored): Promise<number> {
  const found = await bus.last("INPUTS", subject);
  if (found === undefined || found.sequence < sequence)
    throw terminal("not_stored", `message ${sequence} was acknowledged, and INPUTS does not contain it`);
  return found.storedAtMs;
}

/** Null for a record of another version that cannot be parsed. */
function summaryIn(message: StoredMessage): RunSummary | null {
  const parsed = parseVerdictRecord(JSON.parse(Buffer.from(message.data).toString()));
  return parsed.success ? summaryOf(parsed.data.body) : null;
}
