/** The evaluator's environment. */
import { serviceEnv } from "@aviary/shared/runtime/service-env.ts";
import { z } from "zod";

export const evaluatorEnv = serviceEnv(9_102, {
  /** The fleet file; policy paths are relative to it. */
  AVIARY_FLEET_FILE: z.string().min(1).default("aviary.yaml"),
});
