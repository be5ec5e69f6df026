/**
 * Parses Flagger's webhooks. All share one body, `{name, namespace, phase, checksum, metadata}`; the event hook adds `eventMessage`,
 * `eventType` and `timestamp` (Unix milliseconds as text) to the metadata (pkg/controller/webhook.go, Flagger 1.44).
 * Weight and revision have no field. The weight is parsed from the event's message exactly as Flagger formats it
 * (pkg/controller/scheduler.go); the revision comes from metadata that the canary's author sets, or else from the checksum.
 */
import { z } from "zod";

const text = z.string().max(512).catch("");

/** Only the name is required; unknown keys, null or missing metadata and any phase are accepted. */
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
  /** FNV-32a of the spec that Flagger last applied: the *previous* revision at confirm-rollout, the new one from pre-rollout on. */
  readonly checksum: string;
  readonly revision: string | undefined;
  readonly skillHash: string | undefined;
  readonly gatewayVersion: string | undefined;
  readonly event: { readonly message: string; readonly timestamp: string } | undefined;
}

/** Parses a webhook's body; `undefined` if it names no canary. */
export function readFlaggerCall(body: unknown): FlaggerCall | undefined {
  const parsed = compiled.safeParse(body);
  if (!parsed.success) return undefined;
  const { metadata, ...call } = parsed.data;
  const metadataText = (key: string, max: number): string | undefined => {
    const value = metadata?.[key];
    return typeof value === "string" && value !== "" && value.length <= max ? value : undefined;
  };
  const hash = metadataText("skill_hash", 64);
  const message = metadataText("eventMessage", 1_024);
  return {
    ...call,
    revision: metadataText("revision", 128) ?? metadataText("version", 128),
    skillHash: hash !== undefined && /^[0-9a-f]{64}$/.test(hash) ? hash : undefined,
    gatewayVersion: metadataText("gateway_version", 64),
    event: message === undefined ? undefined : { message, timestamp: metadataText("timestamp", 20) ?? "" },
  };
}

export type EventMeaning =
  | { readonly kind: "weight"; readonly weight: number }
  | { readonly kind: "end"; readonly result: "succeeded" | "failed" };

/**
 * Parses a weight or the end of a run from an event's message.
 *
 * The phase alone never ends a run: "Confirm-rollout check … passed" about the next revision still has the previous revision's phase.
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

/** Phases of a Flagger canary during an analysis; only these are reported as control messages. */
export const RUNNING_PHASES: ReadonlySet<string> = new Set([
  "Waiting",
  "Progressing",
  "WaitingPromotion",
  "Promoting",
  "Finalising",
]);
