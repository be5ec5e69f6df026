/** The shim's environment. */
import { portNumber, serviceEnv } from "@aviary/shared/runtime/service-env.ts";
import { z } from "zod";

export const shimEnv = serviceEnv(9_464, {
  /** The fleet file; policy paths are relative to it. */
  AVIARY_FLEET_FILE: z.string().min(1).default("aviary.yaml"),
  AVIARY_TOKENS_FILE: z.string().min(1).default("tokens.yaml"),
  AVIARY_SHIM_HOST: z.string().min(1).default("127.0.0.1"),
  AVIARY_SHIM_PORT: portNumber.default(8_080),
});
