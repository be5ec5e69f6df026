/**
 * The closed list of reason codes, each with its effect on the verdict and its meaning to an operator.
 * The tables in the docs are generated from this list.
 *
 * effect  `evidence`  a hold for lack of evidence alone: not degraded
 *         `hold`      a hold caused by a fault: degraded
 *         `fail`      can fail a run, if the judge's rule or a hard signal decides so
 *         `answer`    set by the HTTP shim on an answer, never by the evaluator
 * hard    blocks a Flagger confirm-rollout at weight 0, when no traffic can exist yet
 */
import { z } from "zod";

export interface ReasonKind {
  readonly effect: "evidence" | "hold" | "fail" | "answer";
  readonly hard: boolean;
  readonly meaning: string;
}

export const REASONS = {
  no_run: {
    effect: "evidence",
    hard: false,
    meaning:
      "No run is open: no revision was announced, and the canary slice runs stable's release or one that was already analyzed.",
  },
  pending: {
    effect: "evidence",
    hard: false,
    meaning: "A revision was announced; its release has not reached the canary slice and no traffic was shifted yet.",
  },
  warming: {
    effect: "evidence",
    hard: false,
    meaning: "The release is on the canary slice and inside its warm-up; what is measured now is not judged.",
  },
  low_traffic: {
    effect: "evidence",
    hard: false,
    meaning: "Too few requests for a decision: none in the window, or not enough to rule out a gross fault.",
  },
  stale: {
    effect: "hold",
    hard: true,
    meaning: "A fact about a gateway is unknown: the gateway has sent no signal of that kind for two periods and the grace.",
  },
  gap: {
    effect: "hold",
    hard: true,
    meaning:
      "A window is incomplete: signals of an expected gateway are missing, its traffic covers too little of the window, or too many requests were excluded.",
  },
  late: {
    effect: "hold",
    hard: true,
    meaning: "Signals arrived after their window had closed; they are counted here and not judged.",
  },
  clock_skew: {
    effect: "hold",
    hard: true,
    meaning: "A gateway's clock is more than five seconds ahead of or behind the broker's, or the broker's clock was set back.",
  },
  version_skew: { effect: "hold", hard: true, meaning: "Gateways of one slice run different gateway versions." },
  skill_skew: { effect: "hold", hard: true, meaning: "Gateways of one slice have different skill packs." },
  fragment_skew: { effect: "hold", hard: true, meaning: "Gateways of one slice have different configuration fragments." },
  slice_mismatch: {
    effect: "hold",
    hard: true,
    meaning: "A collector claims a slice that differs from the fleet file.",
  },
  release_changed: {
    effect: "hold",
    hard: true,
    meaning: "The release on the canary slice changed during the run without an announcement.",
  },
  environment: { effect: "hold", hard: true, meaning: "Stable is affected too: the environment, not the canary." },
  over_5xx: { effect: "fail", hard: false, meaning: "The rate of 5xx responses is over its ceiling." },
  over_p99: { effect: "fail", hard: false, meaning: "The 99th percentile of latency is over its ceiling." },
  p99_regression: {
    effect: "fail",
    hard: false,
    meaning: "The 99th percentile of latency regressed against stable by more than the limit.",
  },
  over_4xx: {
    effect: "fail",
    hard: false,
    meaning:
      "The canary answers with 4xx far more often than stable: a hold, or a failure if the policy requests that (`over4xx: fail`).",
  },
  traffic_missing: {
    effect: "hold",
    hard: false,
    meaning: "The canary has less than half of the requests that its weight entitles it to.",
  },
  queue_high: { effect: "hold", hard: false, meaning: "The canary lane's queue is deeper than its ceiling." },
  queue_growth: { effect: "fail", hard: false, meaning: "The queue grows steadily while the canary's weight rises." },
  disk_yellow: { effect: "fail", hard: true, meaning: "A gateway's disk crossed the yellow mark of its tier." },
  disk_red: { effect: "fail", hard: true, meaning: "A gateway's disk crossed the red mark: scale to the minimum and drain." },
  disk_unwritable: { effect: "hold", hard: true, meaning: "No file can be written on a gateway's state volume." },
  doctor_error: {
    effect: "fail",
    hard: true,
    meaning: "Doctor reports an error on a canary gateway that was not accepted before.",
  },
  doctor_unknown: {
    effect: "hold",
    hard: true,
    meaning: "Doctor's report is unreadable, or the policy requires a report for the release and none was received.",
  },
  gateway_down: {
    effect: "fail",
    hard: true,
    meaning:
      "A gateway does not respond to its probes, or reports that it is not ready. A canary slice that is down for a whole window while stable is up fails the run.",
  },
  restarting: {
    effect: "fail",
    hard: true,
    meaning:
      "A canary gateway restarted during the run or is in its warm-up again. More restarts than the policy allows, and than stable has, fail the run.",
  },
  worker_unreachable: { effect: "hold", hard: true, meaning: "A gateway's worker cannot be reached." },
  dep_down: { effect: "hold", hard: true, meaning: "A dependency of a gateway does not respond." },
  maintenance: {
    effect: "hold",
    hard: true,
    meaning: "The canary or one of its gateways is in maintenance, or the run is paused.",
  },
  promotion_running: { effect: "hold", hard: true, meaning: "An artifact is being promoted to a gateway of this canary." },
  hold_expired: {
    effect: "hold",
    hard: false,
    meaning: "The hold budget is exhausted and an incident was raised; the verdict stays hold.",
  },
  latched: {
    effect: "fail",
    hard: true,
    meaning: "The run failed earlier; the failure is latched until the revision changes or an operator clears it.",
  },
  caller_gone: {
    effect: "hold",
    hard: true,
    meaning: "The controller that judges the open run has been silent for longer than its lease.",
  },
  superseded: {
    effect: "answer",
    hard: true,
    meaning: "The request names an older revision than that of the open run.",
  },
  restoring: {
    effect: "answer",
    hard: true,
    meaning: "The named revision failed, and its run is not over: the canary slice is not back on stable's release.",
  },
  not_reporting: {
    effect: "hold",
    hard: true,
    meaning: "An expected gateway has never reported: no signal of a required kind has arrived since it was configured.",
  },
  evaluator_down: {
    effect: "answer",
    hard: true,
    meaning: "No current verdict: the evaluator's lease is stale, or the last verdict has expired.",
  },
  not_ready: {
    effect: "answer",
    hard: true,
    meaning: "No verdict has been read yet: the shim or the evaluator has just started.",
  },
  unknown_canary: { effect: "answer", hard: true, meaning: "No canary with this name is configured." },
} as const satisfies Record<string, ReasonKind>;

export type ReasonCode = keyof typeof REASONS;
export const REASON_CODES = Object.keys(REASONS) as ReasonCode[];

/** Reasons that only state a lack of new evidence. Any other current reason makes a run not promotable. */
const HARMLESS: ReadonlySet<ReasonCode> = new Set(["low_traffic", "late", "hold_expired"]);

/** Whether this reason, while current, prevents a promotion regardless of the evidence. */
export const blocksPromotion = (code: ReasonCode): boolean => !HARMLESS.has(code);

/** Maximum length of the text of a reason or gap, in characters. */
export const MAX_REASON_TEXT = 160;

/** The text, truncated to the maximum length of a reason. */
export const reasonText = (text: string): string => text.slice(0, MAX_REASON_TEXT);

/** One reason of a verdict: a code, the affected part, the numbers, and one line of text. */
export const reasonSchema = z.object({
  code: z.enum(REASON_CODES as [ReasonCode, ...ReasonCode[]]),
  metric: z.string().max(40).optional(),
  az: z.string().max(63).optional(),
  gateway: z.string().max(63).optional(),
  value: z.number().optional(),
  limit: z.number().optional(),
  unit: z.string().max(12).optional(),
  text: z.string().max(MAX_REASON_TEXT),
});
export type Reason = z.infer<typeof reasonSchema>;

/** Whether a hold with this code is caused by a fault, as opposed to missing evidence. */
export function degrades(code: ReasonCode): boolean {
  return REASONS[code].effect !== "evidence";
}

/** Codes of incidents: conditions that people must act on apart from the verdict. Closed, like the reasons. */
export const INCIDENTS = {
  verdict_failed: { severity: "critical", meaning: "A run failed." },
  release_changed: {
    severity: "warning",
    meaning: "The release on the canary slice changed during a run without an announcement.",
  },
  environment: { severity: "warning", meaning: "Canary and stable are affected together." },
  hold_expired: { severity: "warning", meaning: "A run was on hold for longer than its budget." },
  run_expired: {
    severity: "warning",
    meaning: "A run expired: it was pending or open for too long.",
  },
  run_unjudged: {
    severity: "warning",
    meaning: "A controller reported success of a run without the evidence for a promotion; its release is not allowed on stable.",
  },
  not_restored: {
    severity: "critical",
    meaning: "A failed run is older than `maxRun`, and its canary slice is not back on stable's release.",
  },
  caller_gone: {
    severity: "warning",
    meaning: "The controller that judges an open run has been silent for longer than its lease.",
  },
  left_over_caller: {
    severity: "warning",
    meaning: "A controller, such as a left-over analysis, names an older revision than that of the open run.",
  },
  end_ignored: {
    severity: "warning",
    meaning: "A controller reported the end of a revision other than that of the current run.",
  },
  caller_conflict: { severity: "warning", meaning: "Two judging caller classes queried one canary within a minute." },
  auth_failed: {
    severity: "warning",
    meaning:
      "The shim rejected a request: a token is unknown, expired or lacks the permission, or a controller's route got no token. A browser's first request without a token is a challenge, not a failure.",
  },
  disk_red: { severity: "critical", meaning: "A gateway's disk crossed the red mark." },
  disk_yellow: { severity: "warning", meaning: "A gateway's disk crossed the yellow mark." },
  spool_gap: { severity: "warning", meaning: "A collector's spool was full and dropped its oldest signals." },
  unreadable: { severity: "warning", meaning: "Messages that failed validation were stored as dead letters." },
  clock_skew: { severity: "warning", meaning: "The clock of a Mac is more than five seconds off, or the broker's was set back." },
  log_gap: {
    severity: "critical",
    meaning: "The log no longer contains the checkpoint's position, or is not the log of the checkpoint.",
  },
  config_differs: {
    severity: "critical",
    meaning: "Two evaluators have different fleet files or policies: which of them judges depends on which one leads.",
  },
  promotion_failed: { severity: "critical", meaning: "A promotion failed." },
  rollback_failed: { severity: "critical", meaning: "Restoring the stable release failed." },
} as const satisfies Record<string, { severity: "warning" | "critical"; meaning: string }>;
export type IncidentCode = keyof typeof INCIDENTS;
