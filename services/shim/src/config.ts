/** The shim's settings, from the environment. */
import { LOG_LEVELS } from "@aviary/shared/runtime/logger.ts";
import { natsEnv } from "@aviary/shared/runtime/nats-login.ts";
import { z } from "zod";

const port = z.coerce.number().pipe(z.int().min(0).max(65_535));

export const shimEnvSchema = z.strictObject({
  AVIARY_FLEET_FILE: z.string().min(1).default("aviary.yaml"),
  AVIARY_TOKENS_FILE: z.string().min(1).default("tokens.yaml"),
  ...natsEnv,
  AVIARY_SHIM_HOST: z.string().min(1).default("127.0.0.1"),
  AVIARY_SHIM_PORT: port.default(8080),
  AVIARY_OPS_HOST: z.string().min(1).default("127.0.0.1"),
  AVIARY_OPS_PORT: port.default(9464),
  AVIARY_LOG_LEVEL: z.enum(LOG_LEVELS).default("info"),
});
