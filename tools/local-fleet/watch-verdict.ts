/** Follows the canary's verdict and prints it when it changes. */
import type { VerdictBody } from "@aviary/shared/contract/verdict.ts";
import type { FleetPlan } from "../../examples/fleet/src/layout.ts";
import { dim, green, red, wrapped, yellow } from "./terminal-output.ts";

const LOOK_EVERY_MS = 1_000;
const PAINT = { pass: green, hold: yellow, fail: red } as const;

/** The shim's current verdict, with full texts. @throws Error if the shim does not return one */
async function readVerdict(plan: FleetPlan, token: string): Promise<VerdictBody> {
  const answer = await fetch(`http://${plan.host}:${plan.shimPort}/api/v1/canaries/${plan.canary}`, {
    headers: { authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(5_000),
  });
  if (answer.status !== 200) throw new Error(`the shim returned ${answer.status}: ${await answer.text()}`);
  return (await answer.json()) as VerdictBody;
}

/** Formats time, verdict and run state, and below them the first reason. */
function verdictLines(body: VerdictBody): string {
  const reason = body.reasons[0];
  const run =
    body.run === null
      ? "no run"
      : `run ${body.run.controller_revision ?? body.run.revision} ${runState(body.run)}, weight ${body.run.weight}%`;
  const first = `  ${dim(body.at.slice(11, 19))}  ${PAINT[body.verdict](body.verdict.padEnd(4))}  ${run}`;
  if (reason === undefined) return first;
  return [first, ...wrapped(`${reason.code}: ${reason.text}`, 18).map(dim)].join("\n");
}

/** `failed and restored` once stable's release is back; the verdict itself does not change. */
const runState = (run: NonNullable<VerdictBody["run"]>): string =>
  run.state === "failed" && !run.canary_active ? "failed and restored" : `${run.state}${run.promotable ? ", promotable" : ""}`;

/** Prints the verdict whenever outcome, run state or first reason change. @returns a function that stops it */
export function watchVerdict(plan: FleetPlan, token: string, print: (line: string) => void): () => void {
  let last = "";
  let busy = false;
  const look = async (): Promise<void> => {
    if (busy) return;
    busy = true;
    try {
      const body = await readVerdict(plan, token);
      const picture = JSON.stringify([body.verdict, body.run?.id, body.run && runState(body.run), body.reasons[0]?.code]);
      if (picture !== last) print(verdictLines(body));
      last = picture;
    } catch {
      // The shim is being restarted, which the supervisor reports.
    } finally {
      busy = false;
    }
  };
  const timer = setInterval(look, LOOK_EVERY_MS);
  return () => clearInterval(timer);
}
