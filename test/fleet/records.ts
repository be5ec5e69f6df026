/** The content of a fleet's streams, and the results of reducing its log. */
import type { Bus, StoredMessage } from "@aviary/shared/bus/bus.ts";
import type { StreamName } from "@aviary/shared/bus/streams.ts";
import { parseSignal, type Signal } from "@aviary/shared/contract/signal.ts";
import { parseVerdictRecord, type VerdictRecord } from "@aviary/shared/contract/verdict.ts";
import { loadFleet } from "@aviary/shared/runtime/fleet-config.ts";
import { reduce } from "../../services/evaluator/src/core/reducer.ts";
import { resolveConfig } from "../../services/evaluator/src/core/resolved-config.ts";
import { createState } from "../../services/evaluator/src/core/state.ts";
import { createInputReader } from "../../services/evaluator/src/io/inputs.ts";

const VERDICT_WITHIN_MS = 60_000;

/** All current messages of a stream, in order. */
export async function readStream(bus: Bus, stream: StreamName): Promise<StoredMessage[]> {
  const messages: StoredMessage[] = [];
  const follower = await bus.follow({ stream, from: "all", onMessage: (message) => void messages.push(message) });
  await follower.caughtUp;
  await follower.stop();
  return messages;
}

export const jsonOf = (message: StoredMessage): unknown => JSON.parse(Buffer.from(message.data).toString());

/** Every published verdict, in order. @throws Error if one does not match its schema */
export async function publishedVerdicts(bus: Bus): Promise<VerdictRecord[]> {
  return (await readStream(bus, "VERDICTS")).map((message) => {
    const parsed = parseVerdictRecord(jsonOf(message));
    if (!parsed.success) throw new Error(`verdict ${message.sequence}: ${parsed.error.message}`);
    return parsed.data;
  });
}

/**
 * The first verdict, of new or of all ones, that satisfies `match`.
 * @throws Error after a minute, with the verdicts published instead
 */
export async function verdictWhere(
  bus: Bus,
  what: string,
  match: (record: VerdictRecord) => boolean,
  from: "all" | "new" = "all",
): Promise<VerdictRecord> {
  const seen: VerdictRecord[] = [];
  const found = Promise.withResolvers<VerdictRecord>();
  const follower = await bus.follow({
    stream: "VERDICTS",
    from,
    onMessage: (message) => {
      const parsed = parseVerdictRecord(jsonOf(message));
      if (!parsed.success) return;
      seen.push(parsed.data);
      if (match(parsed.data)) found.resolve(parsed.data);
    },
  });
  const timer = setTimeout(
    () => found.reject(new Error(`timed out waiting until ${what}; published were\n${formatVerdicts(seen)}`)),
    VERDICT_WITHIN_MS,
  );
  try {
    return await found.promise;
  } finally {
    clearTimeout(timer);
    await follower.stop();
  }
}

export interface StoredSignal {
  readonly signal: Signal;
  readonly sequence: number;
  readonly storedAtMs: number;
}

/** Every signal of the log, in order. */
export async function storedSignals(bus: Bus): Promise<StoredSignal[]> {
  return (await readStream(bus, "INPUTS")).flatMap((message) => {
    const parsed = message.subject.startsWith("signals.") ? parseSignal(jsonOf(message)) : undefined;
    return parsed?.success ? [{ signal: parsed.data, sequence: message.sequence, storedAtMs: message.storedAtMs }] : [];
  });
}

/**
 * The verdicts that a reduction of the whole log yields, without an evaluator or a checkpoint, by the broker's clock only. These
 * must have been published by now. The log must not be written to meanwhile.
 */
export async function replayedVerdicts(bus: Bus, fleetFile: string): Promise<VerdictRecord[]> {
  const { fleet, policies, policyHash } = await loadFleet(fleetFile);
  const state = createState(resolveConfig(fleet, policies, policyHash));
  const read = createInputReader();
  const untilMs = await bus.brokerTime();
  const verdicts: VerdictRecord[] = [];
  const take = (input: Parameters<typeof reduce>[1]): void => {
    for (const effect of reduce(state, input).effects) if (effect.kind === "verdict") verdicts.push(effect.record);
  };
  for (const message of await readStream(bus, "INPUTS")) take(read(message));
  take({ kind: "clock", atMs: untilMs });
  return verdicts;
}

/** One line per verdict, for reading failures. */
export function formatVerdicts(verdicts: readonly VerdictRecord[]): string {
  return verdicts
    .map(
      ({ body }) =>
        `${body.at.slice(11, 23)} ${body.id} window ${body.window?.index ?? "-"} ${body.verdict} ${body.run?.state ?? "-"} [${body.reasons.map((reason) => `${reason.code}: ${reason.text}`).join(" | ")}]`,
    )
    .join("\n");
}
