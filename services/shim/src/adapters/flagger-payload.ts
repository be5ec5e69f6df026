/**
 * What Flagger says in its webhooks. One body for all of them: `{name, namespace, phase, checksum, metadata}`; the event hook adds
 * `eventMessage`, `eventType` and `timestamp` (Unix milliseconds as text) to the metadata (pkg/controller/webhook.go, Flagger 1.44).
 * Neither weight nor revision has a field of its own, so the weight is read from the event's message, word for word as Flagger writes it
 * (pkg/controller/scheduler.go), and the revision from metadata that the canary's author templates, or else from the checksum.
 */
import { z } from "zod";

const text = z.string().max(512).catch("");

/** Tolerant: unknown keys, a null or missing metadata, and any phase are fine; only the name is needed. */
const callSchema = z.object({
  name: z.string().min(1).max(253),
  namespace: z.string().max(253).default(""),
  phase: text.default(""),
  checksum: text.default(""),
  metadata: z.record(z.string().max(256), z.unknown()).nullish(),
});
const compiled = z.compile(callSchema);

export interface FlaggerCall {
  readonly namespace: string;
  readonly name: string;
  readonly phase: string;
  /** FNV-32a of what Flagger last applied: of the *previous* revision while confirm-rollout is asked, of the new one from pre-rollout on. */
  readonly checksum: string;
  readonly revision: string | undefined;
  readonly skillHash: string | undefined;
  readonly gatewayVersion: string | undefined;
  readonly event: { readonly message: string; readonly timestamp: string } | undefined;
}

/** Reads a webhook's body; `undefined` when it names no canary. */
export function readFlaggerCall(body: unknown): FlaggerCall | undefined {
  const parsed = compiled.safeParse(body);
  if (!parsed.success) return undefined;
  const { metadata, ...call } = parsed.data;
  const said = (key: string, max: number): string | undefined => {
    const value = metadata?.[key];
    return typeof value === "string" && value !== "" && value.length <= max ? value : undefined;
  };
  const hash = said("skill_hash", 64);
  const message = said("eventMessage", 1_024);
  return {
    ...call,
    revision: said("revision", 128) ?? said("version", 128),
    skillHash: hash !== undefined && /^[0-9a-f]{64}$/.test(hash) ? hash : undefined,
    gatewayVersion: said("gateway_version", 64),
    event: message === undefined ? undefined : { message, timestamp: said("timestamp", 20) ?? "" },
  };
}

export type EventMeaning =
  | { readonly kind: "weight"; readonly weight: number }
  | { readonly kind: "end"; readonly result: "succeeded" | "failed" };

/**
 * What an event's message says about traffic or about the end of the run.
 *
 * The phase alone never ends a run: "Confirm-rollout check … passed" about the next revision still carries the phase of the last one.
 */
export function readEventMessage(message: string): EventMeaning | undefined {
  const canary = /^Advance \S+ canary weight (\d{1,3})$/.exec(message);
  if (canary) return weight(Number(canary[1]));
  const primary = /^Advance \S+ primary weight (\d{1,3})$/.exec(message);
  if (primary) return weight(100 - Number(primary[1]));
  if (message === "Routing all traffic to canary" || message.endsWith("route all traffic to canary")) return weight(100);
  if (message === "Routing all traffic to primary" || message.startsWith("New revision detected! Restarting analysis")) {
    return weight(0);
  }
  if (message.startsWith("Promotion completed!")) return { kind: "end", result: "succeeded" };
  if (message.startsWith("Canary failed!") || /^Promotion of \S+ failed, primary not ready/.test(message)) {
    return { kind: "end", result: "failed" };
  }
  return undefined;
}

function weight(value: number): EventMeaning | undefined {
  return value >= 0 && value <= 100 ? { kind: "weight", weight: value } : undefined;
}

/** Phases of a Flagger canary during an analysis; only these are worth a message of their own. */
export const RUNNING_PHASES: ReadonlySet<string> = new Set([
  "Waiting",
  "Progressing",
  "WaitingPromotion",
  "Promoting",
  "Finalising",
]);
