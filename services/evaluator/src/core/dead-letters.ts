/**
 * Dead letters: invalid messages are stored with the reason. At most a few per sender and minute of broker time are written; the
 * rest is counted and reported with the next one, so that a flood stays small. Senders are those in the fleet file, plus one for
 * all others.
 */
import { type DeadLetter, MAX_DEAD_EXCERPT, MAX_DEAD_SUBJECT, MAX_DEAD_TEXT } from "@aviary/shared/contract/dead.ts";
import { incident } from "@aviary/shared/contract/incident.ts";
import { isoTime } from "@aviary/shared/contract/iso-time.ts";
import type { Effect } from "./effects.ts";
import type { UnreadableInput } from "./inputs.ts";
import type { State } from "./state.ts";

export const DEAD_PER_MINUTE = 10;

/** Senders that are not in a fleet file count as one, because their names are arbitrary. */
const UNKNOWN_SENDER = "unknown";

/**
 * The possible sender of a message with this subject: a gateway of the fleet file by its key, a fleet by its name for control
 * messages, or `unknown`.
 */
function senderOf(state: State, subject: string): string {
  const [, first = "", second, third] = subject.split(".", 4);
  const gateway = `${first}.${second}.${third}`;
  if (state.gateways.has(gateway)) return gateway;
  return state.config.canariesOfFleet.has(first) ? first : UNKNOWN_SENDER;
}

/**
 * The effects of one invalid message: a dead letter, or nothing while its sender is over the limit. The first per minute is an
 * incident.
 */
export function deadLetterEffects(state: State, input: UnreadableInput): Effect[] {
  const key = senderOf(state, input.subject);
  const minute = Math.floor(input.storedAtMs / 60_000);
  let count = state.dead.get(key);
  if (count === undefined) {
    count = { minute, written: 0, suppressed: 0 };
    state.dead.set(key, count);
  }
  if (count.minute !== minute) {
    count.minute = minute;
    count.written = 0;
  }
  if (count.written >= DEAD_PER_MINUTE) {
    count.suppressed += 1;
    return [];
  }
  count.written += 1;
  const letter: DeadLetter = {
    service: "evaluator",
    reason: input.reason,
    text: input.text.slice(0, MAX_DEAD_TEXT),
    subject: input.subject.slice(0, MAX_DEAD_SUBJECT),
    sequence: input.sequence,
    stored_at: isoTime(input.storedAtMs),
    excerpt: input.excerpt.slice(0, MAX_DEAD_EXCERPT),
    suppressed: count.suppressed,
  };
  count.suppressed = 0;
  const effects: Effect[] = [{ kind: "dead", id: `dead-${input.sequence}`, letter }];
  if (count.written === 1) {
    effects.push({
      kind: "incident",
      incident: incident(
        "unreadable",
        isoTime(input.storedAtMs),
        `${key}|${minute}`,
        {},
        { sender: key, reason: input.reason, text: letter.text },
      ),
    });
  }
  return effects;
}
