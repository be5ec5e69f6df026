/**
 * A run: one analysis of one revision.
 *
 *   idle ──announced──▶ pending ──▶ warming ──warm-up──▶ active ──▶ passed | failed | aborted | superseded | expired
 *     └── canary slice agrees on a release ≠ stable's for two periods ──▶ warming
 *
 * pending     a revision was announced; its release is not on the canary slice and no traffic was shifted. Ends in warming or
 * expired.
 * warming     the release is pinned; traffic is measured and not judged. Ends in active when the warm-up has passed.
 * active      windows are judged. Ends in passed, failed, aborted, superseded or expired.
 * failed      latched. The canary counts as active until its slice is back on stable's release, an operator clears it,
 *             a new revision opens a run, or the run's time limit has passed.
 * the others  ended; nothing is frozen.
 *
 * Every state but the last ones ends without intervention: pending expires, warming is timed, active and failed expire.
 */
export const RUN_STATES = [
  "idle",
  "pending",
  "warming",
  "active",
  "passed",
  "failed",
  "aborted",
  "superseded",
  "expired",
] as const;
export type RunState = (typeof RUN_STATES)[number];

/** The part of a run from which its progress is read; a `RunView` has it. */
export interface RunProgress {
  readonly state: RunState;
  readonly canary_active: boolean;
}

/** Whether a run has not ended: pending, analyzed, or failed and not yet restored. */
export function isOpenRun(run: RunProgress | null | undefined): boolean {
  if (run == null) return false;
  return (
    run.state === "pending" || run.state === "warming" || run.state === "active" || (run.state === "failed" && run.canary_active)
  );
}

/** Whether a run failed and its canary slice is back on stable's release. */
export function isRestoredRun(run: RunProgress | null): boolean {
  return run !== null && run.state === "failed" && !run.canary_active;
}

export type Slice = "canary" | "stable";

/** What a gateway runs. `null` means unknown. */
export interface Release {
  readonly gateway_version: string | null;
  readonly skill_hash: string | null;
  readonly fragment_hash: string | null;
}

export function sameRelease(a: Release, b: Release): boolean {
  return a.gateway_version === b.gateway_version && a.skill_hash === b.skill_hash && a.fragment_hash === b.fragment_hash;
}

export interface Allowed {
  readonly allowed: true;
}
export type RefusalCode =
  | "not_canary_slice"
  | "not_announced_hash"
  | "run_active"
  | "not_stable_hash"
  | "needs_pass"
  | "lane_scaling"
  | "verdict_stale"
  | "maintenance";
export interface Refusal {
  readonly allowed: false;
  readonly code: RefusalCode;
  readonly text: string;
}

/** A lane whose replicas changed more recently than this is scaling, and nothing is promoted meanwhile. Milliseconds. */
export const LANE_COOLDOWN_MS = 120_000;

const refuse = (code: RefusalCode, text: string): Refusal => ({ allowed: false, code, text });

/** The part of a verdict body that the rule reads; a `VerdictBody` is one. */
export interface PromotionFacts {
  readonly run: {
    readonly id: string;
    readonly state: RunState;
    readonly canary_active: boolean;
    readonly announced_hash: string | null;
    readonly stable_hash: string | null;
  } | null;
  readonly reasons: readonly { readonly code: string }[];
  readonly stable_may_promote: boolean;
  readonly valid_until: string;
}

/** The part of a lane record that the rule reads; a `LaneRecord` is one. */
export interface LaneFacts {
  readonly lane: string;
  readonly replicas: number;
  readonly changed_at: string | null;
}

/**
 * Whether an artifact with this hash may be installed on a gateway of this slice now. The one rule for promoter, shim and CLI.
 *
 * @param verdict the canary's latest verdict; `undefined` if none was ever published, which allows what no run forbids
 * @param slice   slice of the target gateway
 * @param hash    skill hash of the artifact, 64 hex digits
 * @param lane    latest record of the canary's lane, if it has one
 * @param atMs    now, milliseconds since the epoch
 */
export function mayPromote(
  verdict: PromotionFacts | undefined,
  slice: Slice,
  hash: string,
  lane: LaneFacts | undefined,
  atMs: number,
): Allowed | Refusal {
  const run = verdict?.run ?? undefined;
  if (verdict && run && isOpenRun(run) && atMs > Date.parse(verdict.valid_until)) {
    return refuse(
      "verdict_stale",
      `the last verdict was valid until ${verdict.valid_until} and run ${run.id} has not ended: wait for a current verdict`,
    );
  }
  if (verdict?.reasons.some((reason) => reason.code === "maintenance")) {
    return refuse("maintenance", "the canary is in maintenance: end it with `aviary run maintenance --off` first");
  }
  if (slice === "canary" && lane?.changed_at && atMs - Date.parse(lane.changed_at) < LANE_COOLDOWN_MS) {
    return refuse(
      "lane_scaling",
      `lane ${lane.lane} changed to ${lane.replicas} replicas at ${lane.changed_at}: wait one cooldown (${LANE_COOLDOWN_MS / 1000} s)`,
    );
  }
  if (run && run.state === "pending") {
    if (slice !== "canary") return refuse("not_canary_slice", `run ${run.id} is pending: only the canary slice may be written`);
    if (run.announced_hash !== null && run.announced_hash !== hash) {
      return refuse("not_announced_hash", `run ${run.id} announced ${run.announced_hash.slice(0, 12)}, not ${hash.slice(0, 12)}`);
    }
    return { allowed: true };
  }
  if (run && (run.state === "warming" || run.state === "active")) {
    return refuse("run_active", `run ${run.id} is ${run.state}: nothing is promoted while a canary is analyzed`);
  }
  if (run && run.state === "failed" && run.canary_active) {
    if (slice !== "canary") return refuse("not_canary_slice", `run ${run.id} failed: only the canary slice may be restored`);
    if (run.stable_hash !== hash) {
      return refuse(
        "not_stable_hash",
        `run ${run.id} failed: only stable's pack ${run.stable_hash?.slice(0, 12) ?? "(unknown)"} may be restored`,
      );
    }
    return { allowed: true };
  }
  if (slice === "stable" && verdict && !verdict.stable_may_promote) {
    return refuse("needs_pass", "the policy requires a passed run before stable is promoted (stableNeedsPass)");
  }
  return { allowed: true };
}
