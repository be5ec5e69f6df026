/** The evaluator's environment: read once, checked whole. */
import { natsEnv } from "@aviary/shared/runtime/nats-login.ts";
import { z } from "zod";

export const evaluatorEnv = z.object({
  /** The fleet file; its policies are found beside it. */
  AVIARY_FLEET_FILE: z.string().min(1).default("aviary.yaml"),
  ...natsEnv,
  AVIARY_OPS_HOST: z.string().min(1).default("127.0.0.1"),
  AVIARY_OPS_PORT: z.coerce.number().int().min(0).max(65_535).default(9_102),
  AVIARY_LOG_LEVEL: z.enum(["debug", "info", "warn", "error"]).default("info"),
});
