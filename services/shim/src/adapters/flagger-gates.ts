/**
 * The answers to Flagger's gate webhooks: one table, as one pure function.
 *
 *                                              pass   hold                          fail   no open run         unknown canary, or
 *                                                                                                               verdicts not read yet
 *   confirm-rollout                            200    403 only for a hard reason,   403    as hold             403
 *                                                     or a release that the
 *                                                     policy requires on the Macs
 *   confirm-traffic-increase at weight 0       200    as confirm-rollout            403    403                 403
 *   confirm-traffic-increase                   200    403                           403    403                 403
 *   confirm-promotion                          200 if promotable, else 403   (same) 403    403                 403
 *   pre-rollout, rollout                       200    200                           403    200; 403 if aborted 403
 *   rollback (200 means: roll back)            403    403                           200    403                 403
 *   post-rollout                               200    200                           200    200                 200
 *
 * At weight 0 no canary traffic can exist, so the first row requires preconditions and no evidence. A refused pre-rollout or rollout hook
 * counts as a failed check, so a hold allows them and stops at the confirm gates, where waiting is free.
 * A revision without a verdict is "no run", and its traffic is not widened: its weight is unknown.
 * Whatever widens needs an open run: one that expired, passed or was aborted allows nothing. Refusals are 403, never 409 or 5xx: Flagger retries a 5xx
 * and discards its text.
 */
import { blocksPromotion, REASONS, type Reason } from "@aviary/shared/contract/reasons.ts";
import { isOpenRun, type RunState } from "@aviary/shared/contract/run.ts";
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

/** Gates where a hold is free: a call to one of these proves that the controller honors holds. */
export const CONFIRM_GATES: ReadonlySet<Gate> = new Set(["confirm-rollout", "confirm-traffic-increase", "confirm-promotion"]);

/** The inputs of the table. */
export interface GateFacts {
  /** False for a canary that is not configured or not served on this host. */
  readonly known: boolean;
  /** True if the caller names a revision without a verdict, whose weight is unknown. */
  readonly unseen?: boolean;
  readonly verdict: Outcome;
  readonly reasons: readonly Pick<Reason, "code" | "text">[];
  readonly run: {
    readonly state: RunState;
    readonly canary_active: boolean;
    readonly weight: number;
    readonly promotable: boolean;
    readonly mac_release_ok: boolean;
  } | null;
}

export interface GateAnswer {
  readonly allowed: boolean;
  /** One line, at most 200 characters: Flagger shows it in the Kubernetes Event of a refused pre-rollout or rollout hook. */
  readonly text: string;
}

const MAX_TEXT = 200;

const allow = (text: string): GateAnswer => ({ allowed: true, text: oneLine(text) });
const deny = (text: string): GateAnswer => ({ allowed: false, text: oneLine(text) });

/** The table above. */
export function gateAnswer(gate: Gate, facts: GateFacts): GateAnswer {
  const why = facts.reasons[0]?.text ?? facts.verdict;
  if (gate === "post-rollout") return allow("ok");
  if (!facts.known) return deny(gate === "rollback" ? `no rollback: ${why}` : why);
  if (gate === "rollback") {
    return facts.verdict === "fail" ? allow(`roll back: ${why}`) : deny(`no rollback: the verdict is ${facts.verdict}`);
  }
  if (facts.verdict === "fail") return deny(`fail: ${why}`);
  if (facts.reasons.some(({ code }) => code === "not_ready")) return deny(`hold: ${why}`);
  if (facts.run?.state === "aborted") return deny("the run was aborted: start a new run, or roll back in the controller");
  if (gate === "pre-rollout" || gate === "rollout") return allow(facts.verdict === "pass" ? "pass" : `${facts.verdict}: ${why}`);
  if (gate === "confirm-rollout") return facts.verdict === "pass" ? allow("pass") : preconditions(facts);

  // Everything from here on widens.
  if (facts.unseen === true) return deny(`hold: ${why}`);
  if (!isOpenRun(facts.run)) return deny(facts.reasons[0]?.code === "no_run" ? why : `no run is open: ${why}`);
  if (gate === "confirm-promotion") return confirmPromotion(facts, why);
  if (facts.verdict === "pass") return allow("pass");
  return facts.run?.weight === 0 ? preconditions(facts) : deny(`hold: ${why}`);
}

function confirmPromotion({ run, verdict, reasons }: GateFacts, why: string): GateAnswer {
  if (run?.promotable && !reasons.some(({ code }) => blocksPromotion(code))) return allow("promotable");
  return deny(verdict === "pass" ? "pass, but not promotable yet: more pass windows are needed" : `not promotable: ${why}`);
}

function preconditions({ reasons, run }: GateFacts): GateAnswer {
  const hard = reasons.find((reason) => REASONS[reason.code].hard);
  if (hard !== undefined) return deny(`${hard.code}: ${hard.text}`);
  if (run?.mac_release_ok === false)
    return deny("the canary gateways do not run the release under test yet (macRelease: required)");
  return allow("preconditions met");
}

function oneLine(text: string): string {
  const line = text.replaceAll(/\s+/g, " ").trim() || "no reason given";
  return line.length <= MAX_TEXT ? line : `${line.slice(0, MAX_TEXT - 1)}…`;
}
