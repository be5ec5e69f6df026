/** Verdicts as lines of text. */
import { formatWeight, type Outcome, type VerdictBody } from "@aviary/shared/contract/verdict.ts";

/** `10:14:02  FAIL  prod/payments-gateway  window 7, weight 10%  over_5xx: 72 of 1,800 …  9c41…` */
export function verdictLine(body: VerdictBody): string {
  const canary = `${body.subject.namespace}/${body.subject.name}`;
  const window =
    body.window === null ? "no window yet" : `window ${body.window.index}, weight ${formatWeight(body.window.weight)}`;
  const reason = body.reasons[0];
  const reasonText = reason === undefined ? "healthy: no reasons" : `${reason.code}: ${reason.text}`;
  return `${body.at.slice(11, 19)}  ${body.verdict.toUpperCase()}  ${canary}  ${window}  ${reasonText}  ${body.id}`;
}

/** `120 verdicts: 100 pass, 15 hold, 5 fail` */
export function tallyLine(bodies: readonly VerdictBody[]): string {
  const count = (outcome: Outcome): number => bodies.filter((body) => body.verdict === outcome).length;
  return `${bodies.length} verdicts: ${count("pass")} pass, ${count("hold")} hold, ${count("fail")} fail`;
}
