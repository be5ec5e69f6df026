/**
 * Control messages: what controllers and operators say about a canary. They share the one ordered log with the signals, because
 * they change verdicts too. Ids come from content, so a hook that a controller retries is one message.
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
  /** When the caller said it, by the shim's or CLI's clock: for people. The fold uses the broker's store time. */
  at: isoTimeSchema,
};
const text = z.string().max(200);
const revision = z.string().min(1).max(128);

export const controlSchema = z.discriminatedUnion("verb", [
  /** A new revision is about to be analysed. `skill_hash` and `gateway_version` when the announcer knows them. */
  z.object({
    ...shared,
    verb: z.literal("announce"),
    revision,
    skill_hash: hash64.optional(),
    gateway_version: z.string().max(64).optional(),
  }),
  /** An operator opens a run by hand. */
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
  /** A controller asked a gate that can hold; `allowed` is what it was told. */
  z.object({ ...shared, verb: z.literal("gate"), gate: z.string().max(64), allowed: z.boolean(), revision: revision.optional() }),
  z.object({ ...shared, verb: z.literal("end"), result: z.enum(["succeeded", "failed"]), revision: revision.optional() }),
  z.object({ ...shared, verb: z.literal("abort"), reason: text }),
  z.object({ ...shared, verb: z.literal("clear"), reason: text }),
  z.object({ ...shared, verb: z.literal("pause"), reason: text }),
  z.object({ ...shared, verb: z.literal("resume"), reason: text }),
  /** `gateway` absent: the whole canary. Ends by itself at `until`. */
  z.object({
    ...shared,
    verb: z.literal("maintenance"),
    on: z.boolean(),
    until: isoTimeSchema.optional(),
    gateway: z.string().max(63).optional(),
    mute: z.boolean(),
    reason: text,
  }),
]);
export type Control = z.infer<typeof controlSchema>;
type WithoutIdentity<T> = T extends unknown ? Omit<T, "v" | "id" | "at"> : never;
export type ControlContent = WithoutIdentity<Control>;

const compiled = z.compile(controlSchema);
export const parseControl = (value: unknown): z.ZodSafeParseResult<Control> => compiled.safeParse(value);

/**
 * A control message with the id that its content gives. `discriminator` tells two equal sayings apart that are meant twice
 * (a run id, an event's own time); retries of one saying must give the same one.
 */
export function controlMessage(canary: CanaryRef, content: ControlContent, at: string, discriminator: string): Control {
  const id = `${content.verb}-${contentId([canary.namespace, canary.name, content, discriminator], 32)}`;
  return { v: 1, id, at, ...content } as Control;
}

/** The largest control message that is read, bytes. */
export const MAX_CONTROL_BYTES = 4 * 1024;
