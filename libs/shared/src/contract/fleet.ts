/**
 * `aviary.yaml`: expected gateways, canaries, and lanes scaled by KEDA. Read by everything except collectors.
 * Without it, a missing gateway would go undetected.
 */
import { z } from "zod";
import { areNumbers, EVEN_IF_MALFORMED } from "./even-if-malformed.ts";
import { type CanaryRef, parseCanaryKey, TOKEN_PATTERN } from "./subjects.ts";
import { duration } from "./units.ts";

export const CALLER_CLASSES = ["flagger", "rollouts", "keda", "flux", "operator"] as const;
export type CallerClass = (typeof CALLER_CLASSES)[number];

/** The classes that analyze revisions: they open, advance and end runs. */
export const JUDGING_CLASSES = ["flagger", "rollouts"] as const satisfies readonly CallerClass[];
export type JudgingClass = (typeof JUDGING_CLASSES)[number];
export const isJudgingClass = (caller: string): caller is JudgingClass => (JUDGING_CLASSES as readonly string[]).includes(caller);

const token = z.string().regex(TOKEN_PATTERN, "expected lower-case letters, digits and dashes, at most 63 characters");
const canaryName = z.string().refine((key) => parseCanaryKey(key) !== undefined, {
  error: "expected <namespace>/<name> as in Kubernetes: lower-case letters, digits, dashes and dots, at most 63 characters each",
});
const host = z.string().regex(/^[a-z0-9.-]{1,253}(?::\d{1,5})?$/, "expected a host name, lower case, with or without a port");

const gateway = z.strictObject({
  name: token,
  az: token,
  slice: z.enum(["canary", "stable"]),
  tier: z.enum(["1TB", "2TB"]).default("1TB"),
});

const callerSettings = z.strictObject({ interval: duration("1s", "1h").prefault("60s") });
const flaggerSettings = callerSettings.extend({
  /**
   * Flagger calls the gate confirm-traffic-increase of this canary: a hold is then not a failed check, because the gate enforces
   * it.
   */
  gates: z.boolean().default(false),
  /** How Flagger shifts traffic. With `ab`, pre-rollout already sends users to the canary. */
  strategy: z.enum(["weighted", "blue-green", "ab"]).default("weighted"),
});

const canary = z.strictObject({
  fleet: token,
  policy: z.string().min(1),
  hosts: z.array(host).max(32).default([]),
  lanes: z.array(token).max(32).default([]),
  /** The class that announces revisions and shifts traffic. If absent, the first judging class that names a run takes its seat. */
  judge: z.enum(JUDGING_CLASSES).optional(),
  /** The weights of the rollout, percent; a granted increase implies at least the first one. */
  steps: z.array(z.number().gt(0).max(100)).max(64).default([]),
  callers: z
    .strictObject({
      flagger: flaggerSettings.optional(),
      rollouts: callerSettings.optional(),
      keda: callerSettings.optional(),
      flux: callerSettings.optional(),
    })
    .prefault({}),
});

const lane = z
  .strictObject({
    az: token,
    slice: z.enum(["canary", "stable"]),
    /** Expected jobs per replica: KEDA's `targetValue` and `lagThreshold`. */
    perReplica: z.int().min(1).max(10_000).default(8),
    min: z.int().min(0).max(10_000).default(0),
    stableMax: z.int().min(0).max(10_000),
    pollingInterval: duration("1s", "10m").prefault("30s"),
    cooldown: duration("1s", "1h").prefault("120s"),
  })
  // False if a number is missing or malformed, which has its own message.
  .refine((value) => !(areNumbers(value, "min", "stableMax") && value.min > value.stableMax), {
    error: "expected at most the value of stableMax",
    path: ["min"],
    ...EVEN_IF_MALFORMED,
  });

/** The shape of the file; `referenceProblems` checks the references between its keys, in the file as written. */
export const fleetFileSchema = z.strictObject({
  fleets: z.record(token, z.strictObject({ gateways: z.array(gateway).min(1).max(1_000) })),
  canaries: z.record(canaryName, canary),
  lanes: z.record(token, lane).default({}),
});

export type FleetFile = z.output<typeof fleetFileSchema>;
export type GatewayEntry = FleetFile["fleets"][string]["gateways"][number];
export type CanaryEntry = FleetFile["canaries"][string];
/** A lane's settings; `pollingInterval` and `cooldown` are milliseconds after parsing. */
export type LaneEntry = FleetFile["lanes"][string];

/** Gateways of one fleet, in file order. */
export function gatewaysOf(file: FleetFile, fleet: string): readonly GatewayEntry[] {
  return file.fleets[fleet]?.gateways ?? [];
}

/** All canaries of the file as references, in file order. */
export function canariesOf(file: FleetFile): readonly CanaryRef[] {
  return Object.keys(file.canaries).flatMap((key) => parseCanaryKey(key) ?? []);
}
