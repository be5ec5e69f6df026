/**
 * The answers to Flagger's gate webhooks, as one table and one pure function.
 *
 *                                              pass   hold                          fail   no open run for      unknown canary, or
 *                                                                                          the revision         verdicts not read yet
 *   confirm-rollout                            200    403 only for a hard reason,   403    as hold; 403 if it   403
 *                                                     or a release that the                failed and is not
 *                                                     policy requires on the Macs          restored, or if an
 *                                                                                          operator aborted it
 *   confirm-traffic-increase, weight known     200    as confirm-rollout            403    403                  403
 *     to be 0 and nothing granted
 *   confirm-traffic-increase otherwise         200    403                           403    403                  403
 *   confirm-promotion                          200 if promotable, else 403   (same) 403    403                  403
 *   pre-rollout, rollout                       200    200                           403    200; 403 if it       403
 *                                                                                          failed or was aborted
 *   rollback (200 means: roll back)            403    403                           200    200 if it failed     403
 *   post-rollout                               200    200                           200    200                  200
 *
 * While the weight is known to be 0 no canary traffic exists, so the first row requires preconditions and no evidence. An unknown
 * weight is not 0. A rejected pre-rollout or rollout hook counts as a failed check, so a hold allows them and stops at the confirm
 * gates, where waiting costs nothing. With the strategy `ab`, pre-rollout already sends users to the canary and follows the row of
 * confirm-rollout. Every gate that widens needs an open run of the named revision. Rejections are 403, never 409 or 5xx: Flagger
 * retries a 5xx and discards its text.
 */
import { blocksPromotion, REASONS, type Reason } from "@aviary/shared/contract/reasons.ts";
import type { RunState } from "@aviary/shared/contract/run.ts";
import type { Outcome } from "@aviary/shared/contract/verdict.ts";

export const GATES = [
  "confirm-rollout",
  "pre-rollout",
  "rollout",
  "confirm-traffic-increase",
  "confirm-promotion",
  "rollback",
  "post-rollout",
] as const;
export type Gate = (typeof GATES)[number];

/** Gates at which a hold costs nothing. A call to one of them proves that the controller honors holds. */
export const CONFIRM_GATES: ReadonlySet<Gate> = new Set(["confirm-rollout", "confirm-traffic-increase", "confirm-promotion"]);

export type Strategy = "weighted" | "blue-green" | "ab";

/** With A/B testing the first hook already sends the matched users. */
export const sendsUsers = (gate: Gate, strategy: Strategy): boolean => gate === "pre-rollout" && strategy === "ab";

/** The open run that a call is about. */
export interface OpenRunFacts {
  /** Percent; null if unknown. */
  readonly weight: number | null;
  /** An increase was granted in this run. */
  readonly granted: boolean;
  readonly promotable: boolean;
  /** Whether the Macs run the release under test, or the policy does not require it. */
  readonly mac_release_ok: boolean;
}

/** A revision without an open run. */
export interface ClosedRunFacts {
  /** How its newest attempt ended; null if it was never analyzed. */
  readonly state: RunState | null;
  /** Whether its attempt failed and the canary slice is not back on stable's release. */
  readonly isRestoring: boolean;
  readonly abortedByOperator: boolean;
  /** Whether the policy requires its release on the Macs before traffic is shifted, and the call names that release. */
  readonly needsMacRelease: boolean;
}

/** The inputs of the table. */
export interface GateFacts {
  /** False for a canary that is not configured or not served on this host. */
  readonly known: boolean;
  /** The outcome for the open run; a revision without an open run has none. */
  readonly verdict: Outcome;
  /** The current reasons, most important first. */
  readonly reasons: readonly Pick<Reason, "code" | "text">[];
  readonly run: OpenRunFacts | ClosedRunFacts;
  /** Flagger's strategy for this canary. */
  readonly strategy: Strategy;
}

export interface GateAnswer {
  readonly allowed: boolean;
  /** One line, at most 200 characters: Flagger shows it in the Kubernetes Event of a rejected pre-rollout or rollout hook. */
  readonly text: string;
}

const MAX_TEXT = 200;

const allow = (text: string): GateAnswer => ({ allowed: true, text: oneLine(text) });
const deny = (text: string): GateAnswer => ({ allowed: false, text: oneLine(text) });

const refuse = ({ code, text }: Pick<Reason, "code" | "text">): GateAnswer => deny(`${code}: ${text}`);
const RESTORING = {
  code: "restoring",
  text: "this revision failed, and the canary slice is not back on stable's release",
} as const;

const isOpen = (run: GateFacts["run"]): run is OpenRunFacts => "weight" in run;

/** The table above. */
export function gateAnswer(gate: Gate, facts: GateFacts): GateAnswer {
  const { known, reasons, run, strategy } = facts;
  const why = reasons[0]?.text ?? facts.verdict;
  if (gate === "post-rollout") return allow("ok");
  if (!known || reasons.some(({ code }) => code === "not_ready")) return deny(gate === "rollback" ? `no rollback: ${why}` : why);
  const row = sendsUsers(gate, strategy) ? "confirm-rollout" : gate;
  if (isOpen(run)) return openRunAnswer(row, facts, run, why);
  // Flagger calls this hook after confirm-rollout has opened another attempt, whichever row applies.
  const isPast = gate === "pre-rollout" && (run.state === "failed" || run.state === "aborted");
  return closedRunAnswer(isPast ? gate : row, facts, run, why);
}

function openRunAnswer(gate: Gate, facts: GateFacts, run: OpenRunFacts, why: string): GateAnswer {
  const { verdict, reasons } = facts;
  if (gate === "rollback")
    return verdict === "fail" ? allow(`roll back: ${why}`) : deny(`no rollback: the verdict is ${verdict}`);
  if (verdict === "fail") return deny(`fail: ${why}`);
  switch (gate) {
    case "pre-rollout":
    case "rollout":
      return verdict === "pass" ? allow("pass") : allow(`hold: ${why}`);
    case "confirm-rollout":
      return verdict === "pass" ? allow("pass") : preconditions(reasons, run.mac_release_ok);
    case "confirm-promotion":
      return confirmPromotion(facts, run, why);
    default:
      if (verdict === "pass") return allow("pass");
      if (run.weight !== 0 || run.granted)
        return deny(run.weight === null ? `hold: the weight is unknown, and ${why}` : `hold: ${why}`);
      return preconditions(reasons, run.mac_release_ok);
  }
}

function closedRunAnswer(gate: Gate, { reasons }: GateFacts, run: ClosedRunFacts, why: string): GateAnswer {
  const { state } = run;
  switch (gate) {
    case "rollback":
      return state === "failed" ? allow(`roll back: ${why}`) : deny("no rollback: no run of this revision is open");
    case "confirm-rollout":
      if (run.isRestoring) return refuse(RESTORING);
      if (run.abortedByOperator) return deny("an operator aborted this revision: start a new run with `aviary run start`");
      return preconditions(reasons, !run.needsMacRelease);
    case "pre-rollout":
    case "rollout":
      if (state === "failed") return deny("this revision failed");
      if (state === "aborted") return deny("the run of this revision was aborted");
      return allow("no run of this revision is open, so traffic must not widen");
    default:
      return deny(
        reasons[0] === undefined || reasons[0].code === "no_run"
          ? "no run of this revision is open"
          : `no run of this revision is open: ${why}`,
      );
  }
}

function confirmPromotion({ verdict, reasons }: GateFacts, { promotable }: OpenRunFacts, why: string): GateAnswer {
  if (promotable && !reasons.some(({ code }) => blocksPromotion(code))) return allow("promotable");
  return deny(verdict === "pass" ? "pass, but not promotable yet: more pass windows are needed" : `not promotable: ${why}`);
}

function preconditions(reasons: GateFacts["reasons"], isMacReleaseOk: boolean): GateAnswer {
  const hard = reasons.find((reason) => REASONS[reason.code].hard);
  if (hard !== undefined) return refuse(hard);
  if (!isMacReleaseOk) return deny("the canary gateways do not run the release under test yet (macRelease: required)");
  return allow("preconditions met");
}

function oneLine(text: string): string {
  const line = text.replaceAll(/\s+/g, " ").trim() || "no reason given";
  return line.length <= MAX_TEXT ? line : `${line.slice(0, MAX_TEXT - 1)}…`;
}
