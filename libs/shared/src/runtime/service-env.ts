/** The environment variables that every service reads. */
import { z } from "zod";
import { LOG_LEVELS } from "./logger.ts";
import { natsEnv } from "./nats-login.ts";

/** A TCP port; 0 selects any free port. */
export const portNumber = z.coerce.number().pipe(z.int().min(0).max(65_535));

/**
 * The schema of a service's environment: the common variables and its own.
 * @param opsPort the default port of the ops listener
 */
export function serviceEnv<Own extends z.ZodRawShape>(opsPort: number, own: Own) {
  return z.strictObject({
    ...natsEnv,
    /** The address of the ops listener (`ops-server.ts`). */
    AVIARY_OPS_HOST: z.string().min(1).default("127.0.0.1"),
    AVIARY_OPS_PORT: portNumber.default(opsPort),
    AVIARY_LOG_LEVEL: z.enum(LOG_LEVELS).default("info"),
    ...own,
  });
}

/** The common part of every service's environment. */
export type ServiceEnv = z.output<ReturnType<typeof serviceEnv<Record<never, never>>>>;
