/** The policy of one canary: thresholds, and how long each state may last. One YAML file; every key has a default. */
import { z } from "zod";
import { areNumbers, EVEN_IF_MALFORMED } from "./even-if-malformed.ts";
import { duration } from "./units.ts";

const ratio = (min: number, max: number) => z.number().min(min).max(max);
const marks = z
  .strictObject({ yellow: ratio(0.01, 1), red: ratio(0.01, 1) })
  // False if a number is missing or malformed, which has its own message.
  .refine((tier) => !(areNumbers(tier, "yellow", "red") && tier.yellow >= tier.red), {
    error: "expected less than red",
    path: ["yellow"],
    ...EVEN_IF_MALFORMED,
  });

const thresholds = z.strictObject({
  /** Ceiling of errors_5xx / requests, a ratio: 0.005 is 0.5%. */
  max5xxRate: ratio(0.000_001, 0.5).default(0.005),
  maxP99: duration("1ms", "10m").prefault("220ms"),
  /** Canary p99 over stable p99; 1.15 is a regression of 15%. */
  maxP99RegressionRatio: ratio(1.01, 100).default(1.15),
  /** A smaller difference in p99 is not a regression, whatever its ratio, such as 2.0 ms against 1.6 ms. */
  minLatencyDelta: duration("0ms", "10m").prefault("5ms"),
  maxQueueDepth: z.int().min(1).max(1_000_000).default(12),
});

interface Durations {
  readonly window: number;
  readonly grace: number;
  readonly warmup: number;
  readonly maxRun: number;
  readonly promoteAfterPassWindows: number;
  readonly passAfterWindows: number;
}

/** Limits under which no run can pass, however healthy its canary. */
function unreachablePasses(file: Durations): { path: string[]; message: string }[] {
  const problems: { path: string[]; message: string }[] = [];
  const shortestMs = file.warmup + (file.promoteAfterPassWindows + 1) * file.window + file.grace;
  if (file.maxRun < shortestMs) {
    const message = `expected at least the warm-up, promoteAfterPassWindows + 1 windows and the grace (${shortestMs / 1_000} s): no run could pass`;
    problems.push({ path: ["maxRun"], message });
  }
  if (file.passAfterWindows < file.promoteAfterPassWindows)
    problems.push({ path: ["passAfterWindows"], message: "expected at least promoteAfterPassWindows" });
  return problems;
}

export const policySchema = z
  .strictObject({
    mode: z.enum(["two-key", "literal"]).default("two-key"),
    window: duration("1s", "1h").prefault("5m"),
    /** How long after the end of a window its signals may still arrive. */
    grace: duration("100ms", "5m").prefault("10s"),
    /** How long after the release reached the canary slice traffic is measured but not judged. */
    warmup: duration("0s", "1h").prefault("60s"),
    thresholds: thresholds.prefault({}),
    disk: z
      .strictObject({ "1TB": marks.prefault({ yellow: 0.82, red: 0.9 }), "2TB": marks.prefault({ yellow: 0.78, red: 0.9 }) })
      .prefault({}),
    evidence: z.enum(["strict", "normal", "eager"]).default("normal"),
    traffic: z.enum(["real", "synthetic", "both"]).default("real"),
    /** The outcome for a canary with far more 4xx responses than stable. */
    over4xx: z.enum(["hold", "fail"]).default("hold"),
    macRelease: z.enum(["optional", "required"]).default("optional"),
    promoteAfterPassWindows: z.int().min(1).max(1_000).default(2),
    passAfterWindows: z.int().min(1).max(10_000).default(12),
    holdBudget: duration("1s", "7d").prefault("30m"),
    maxPending: duration("1s", "7d").prefault("2h"),
    /**
     * How long the canary slice may keep running stable's release once traffic is shifted; after that it is judged with the release
     * it runs.
     */
    settleRelease: duration("0s", "1d").prefault("10m"),
    /**
     * How long the judging caller may be silent during a run; `auto`: 10 intervals, at least 10m; the whole run for Argo Rollouts.
     */
    callerLease: z.union([z.literal("auto"), duration("1s", "7d")]).prefault("auto"),
    maxRun: duration("1s", "30d").prefault("24h"),
    /** Restarts of canary gateways that fail a run, unless stable gateways restart as often. */
    maxRestarts: z.int().min(1).max(100).default(3),
    /** Whether stable may get only a release that passed, its own release, or a first release. */
    stableNeedsPass: z.boolean().default(true),
    /** Hold until a Doctor report for the release was received; `auto`: from gateways whose collector sends such reports. */
    doctorBeforeTraffic: z.union([z.literal("auto"), z.boolean()]).default("auto"),
  })
  .superRefine((file, context) => {
    for (const problem of unreachablePasses(file)) context.addIssue({ code: "custom", ...problem });
  })
  .transform((file) => ({
    mode: file.mode,
    windowMs: file.window,
    graceMs: file.grace,
    warmupMs: file.warmup,
    thresholds: {
      max5xxRate: file.thresholds.max5xxRate,
      maxP99Ms: file.thresholds.maxP99,
      maxP99RegressionRatio: file.thresholds.maxP99RegressionRatio,
      minLatencyDeltaMs: file.thresholds.minLatencyDelta,
      maxQueueDepth: file.thresholds.maxQueueDepth,
    },
    disk: file.disk,
    evidence: file.evidence,
    traffic: file.traffic,
    over4xx: file.over4xx,
    macRelease: file.macRelease,
    promoteAfterPassWindows: file.promoteAfterPassWindows,
    passAfterWindows: file.passAfterWindows,
    holdBudgetMs: file.holdBudget,
    maxPendingMs: file.maxPending,
    settleReleaseMs: file.settleRelease,
    callerLeaseMs: file.callerLease === "auto" ? null : file.callerLease,
    maxRunMs: file.maxRun,
    maxRestarts: file.maxRestarts,
    stableNeedsPass: file.stableNeedsPass,
    doctorBeforeTraffic: file.doctorBeforeTraffic,
  }));

export type PolicyFile = z.input<typeof policySchema>;
/** A parsed policy: milliseconds and ratios. */
export type Policy = z.output<typeof policySchema>;

/** Sub-windows of one window, which distinguish bursts from rates. */
export const SLOTS = 5;
/**
 * How far ahead of the broker's clock a signal may be, milliseconds; beyond it, the signal is a dead letter and its gateway causes
 * a hold.
 */
export const MAX_CLOCK_AHEAD_MS = 5_000;
/** A disk mark clears when usage is this far below it, so that a disk near the mark does not flap (a ratio of the capacity). */
export const DISK_HYSTERESIS_RATIO = 0.02;

/** Keys that later versions added. */
const ADDED = ["over4xx"] as const;
const ADDED_THRESHOLDS = ["minLatencyDeltaMs"] as const;

/**
 * The part of a policy that its hash covers. A key that a later version added is included only if it differs from its default, so
 * that an upgrade does not change the hash.
 */
export function hashedPolicy(policy: Policy): object {
  const defaults = defaultPolicy();
  const hashed: Partial<Policy> = { ...policy };
  for (const key of ADDED) if (hashed[key] === defaults[key]) delete hashed[key];
  const thresholds: Partial<Policy["thresholds"]> = { ...policy.thresholds };
  for (const key of ADDED_THRESHOLDS) if (thresholds[key] === defaults.thresholds[key]) delete thresholds[key];
  return { ...hashed, thresholds };
}

/** The policy of an empty file. */
export const defaultPolicy = (): Policy => policySchema.parse({});
