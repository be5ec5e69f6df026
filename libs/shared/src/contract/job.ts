/** A promotion job in the queue of one gateway. Queue names and job ids contain no colon, which BullMQ rejects. */
import { z } from "zod";
import { contentId } from "./ids.ts";
import { hash64 } from "./signal.ts";
import type { GatewayRef } from "./subjects.ts";

const safePath = z
  .string()
  .min(1)
  .max(1_024)
  .regex(/^[^\0\n\r]+$/)
  .refine((path) => !path.startsWith("-") && !path.split("/").includes(".."), {
    error: "a path must neither start with - nor contain ..",
  });

export const jobSchema = z.object({
  artifact: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/),
  kind: z.enum(["skills", "gateway"]),
  source: safePath,
  target: safePath,
  skill_hash: hash64,
  run: z.string().max(80).nullable(),
  reason: z.string().max(300),
});
export type Job = z.infer<typeof jobSchema>;

/** `promote-<az>-<fleet>-<gateway>` */
export function promotionQueue(gateway: GatewayRef): string {
  return `promote-${gateway.az}-${gateway.fleet}-${gateway.gateway}`;
}

/** The plan's id: 16 hex digits over its content. Requesting the same plan twice yields one plan. */
export function planId(gateway: GatewayRef, job: Job): string {
  return contentId([gateway, job], 16);
}

/** `<plan>-<attempt>`; attempts count from 1. */
export function jobId(plan: string, attempt: number): string {
  return `${plan}-${attempt}`;
}
