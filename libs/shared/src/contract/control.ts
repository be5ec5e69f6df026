/**
 * Control messages: requests of controllers and operators about a canary. They share the event log with the signals, because they
 * change verdicts too. Ids are derived from content, so a hook that a controller retries is one message.
 */
import { z } from "zod";
import { CALLER_CLASSES } from "./fleet.ts";
import { contentId } from "./ids.ts";
import { hash64, isoTimeSchema } from "./signal.ts";
import type { CanaryRef } from "./subjects.ts";

const shared = {
  v: z.literal(1),
  id: z.string().min(1).max(128),
  caller: z.enum(CALLER_CLASSES),
  /** When the caller sent it, by the clock of the shim or CLI. For people only: the reducer uses the broker's store time. */
  at: isoTimeSchema,
  /** The sender, for audits: a token's id, or the user and host of a command line. */
  by: z.string().max(128).optional(),
};
const text = z.string().max(200);
const revision = z.string().min(1).max(128);

export const controlSchema = z.discriminatedUnion("verb", [
  /** Announces a revision to be analyzed, with `skill_hash` and `gateway_version` if the announcer has them. */
  z.object({
    ...shared,
    verb: z.literal("announce"),
    revision,
    skill_hash: hash64.optional(),
    gateway_version: z.string().max(64).optional(),
    /** The gate whose call named the revision; absent if it was named by a measurement or an event. */
    gate: z.string().max(64).optional(),
  }),
  /** An operator opens a run manually. */
  z.object({
    ...shared,
    verb: z.literal("start"),
    revision,
    skill_hash: hash64.optional(),
    gateway_version: z.string().max(64).optional(),
  }),
  /** Traffic share of the canary, percent. */
  z.object({ ...shared, verb: z.literal("weight"), weight: z.number().min(0).max(100), revision: revision.optional() }),
  z.object({ ...shared, verb: z.literal("phase"), phase: z.string().max(64), revision: revision.optional() }),
  /** A controller called a gate that can block; `allowed` is the response. */
  z.object({ ...shared, verb: z.literal("gate"), gate: z.string().max(64), allowed: z.boolean(), revision: revision.optional() }),
  z.object({ ...shared, verb: z.literal("end"), result: z.enum(["succeeded", "failed"]), revision: revision.optional() }),
  z.object({ ...shared, verb: z.literal("abort"), reason: text }),
  z.object({ ...shared, verb: z.literal("clear"), reason: text }),
  z.object({ ...shared, verb: z.literal("pause"), reason: text }),
  z.object({ ...shared, verb: z.literal("resume"), reason: text }),
  /** Without `gateway`: the whole canary. Ends automatically at `until`. */
  z.object({
    ...shared,
    verb: z.literal("maintenance"),
    on: z.boolean(),
    until: isoTimeSchema.optional(),
    gateway: z.string().max(63).optional(),
    mute: z.boolean(),
    reason: text,
  }),
  /**
   * The configuration that the leading evaluator judges by, for audits. It is also the first message of a log whose gateways have
   * never reported: time counts from there.
   */
  z.object({
    ...shared,
    caller: z.literal("evaluator"),
    verb: z.literal("configure"),
    /** Identifies the policy, the gateways and the lanes of the canary. */
    hash: z.string().regex(/^[0-9a-f]{16}$/),
    /** The first message of the log that this evaluator applied under the configuration. */
    from_sequence: z.int().min(0),
    /** The parsed policy. */
    policy: z.record(z.string(), z.unknown()),
  }),
]);
export type Control = z.infer<typeof controlSchema>;
type WithoutIdentity<T> = T extends unknown ? Omit<T, "v" | "id" | "at"> : never;
export type ControlContent = WithoutIdentity<Control>;

const compiled = z.compile(controlSchema);
export const parseControl = (value: unknown): z.ZodSafeParseResult<Control> => compiled.safeParse(value);

/**
 * A control message with an id derived from its content. `discriminator` separates two intended messages with equal content (a
 * run id, an event's own time); retries of one message must pass the same value.
 */
export function controlMessage(canary: CanaryRef, content: ControlContent, at: string, discriminator: string): Control {
  // Two replicas that a controller calls with two tokens write one message.
  const { by: _sender, ...identifying } = content;
  const id = `${content.verb}-${contentId([canary.namespace, canary.name, identifying, discriminator], 32)}`;
  return { v: 1, id, at, ...content } as Control;
}

/** The maximum size of a control message, bytes. */
export const MAX_CONTROL_BYTES = 4 * 1024;
