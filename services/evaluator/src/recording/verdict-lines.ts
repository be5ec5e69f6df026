/** Verdicts as lines for people. */
import type { VerdictBody } from "@aviary/shared/contract/verdict.ts";

const MARK = { pass: "PASS", hold: "HOLD", fail: "FAIL" } as const;

/** `10:14:02  FAIL  prod/payments-gateway  window 7, weight 10 %  over_5xx: 72 of 1,800 …  9c41…` */
export function verdictLine(body: VerdictBody): string {
  const where = `${body.subject.namespace}/${body.subject.name}`;
  const window = body.window === null ? "no window yet" : `window ${body.window.index}, weight ${body.window.weight} %`;
  const first = body.reasons[0];
  const why = first === undefined ? "healthy: no reasons" : `${first.code}: ${first.text}`;
  return `${body.at.slice(11, 19)}  ${MARK[body.verdict]}  ${where}  ${window}  ${why}  ${body.id}`;
}

/** How many of each. */
export function tallyLine(bodies: readonly VerdictBody[]): string {
  const count = (verdict: VerdictBody["verdict"]): number => bodies.filter((body) => body.verdict === verdict).length;
  return `${bodies.length} verdicts: ${count("pass")} pass, ${count("hold")} hold, ${count("fail")} fail`;
}
