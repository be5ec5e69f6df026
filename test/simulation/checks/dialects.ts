/**
 * Invariants 11, 9 and 4 at the shim: at one instant, every dialect returns one stored verdict that is not too old, and the gates
 * follow their table.
 */
import { REASONS, type ReasonCode } from "@aviary/shared/contract/reasons.ts";
import type { Sample } from "../history.ts";
import { START_MS } from "../kernel.ts";
import type { Case, InvariantCheck, PublishedBody, PublishedVerdict } from "./check.ts";
import { seconds } from "./check.ts";

interface ServedAnswer extends PublishedBody {
  readonly stale?: boolean;
}

export const oneVerdictInEveryDialect: InvariantCheck = (checked) => {
  const byId = new Map(checked.verdicts.map((verdict) => [verdict.body.id, verdict]));
  for (const sample of checked.finished.history.samples) {
    const atMs = sample.atMs - START_MS;
    const answer = JSON.parse(sample.json["/flagger/metrics"]!) as ServedAnswer;
    const what = unlike(sample, answer, byId);
    if (what !== undefined) return { invariant: "11", what: `at ${seconds(atMs)} ${what}`, atMs };
    const wrong = wrongGate(sample, answer, byId.get(answer.id));
    if (wrong !== undefined) return { invariant: "9", what: `at ${seconds(atMs)} ${wrong}`, atMs };
    const old = tooOld(checked, sample, answer, byId.get(answer.id));
    if (old !== undefined) return { invariant: "4", what: `at ${seconds(atMs)} ${old}`, atMs };
  }
  return undefined;
};

/** Whether anything differs between the dialects, or from what was stored. */
function unlike(sample: Sample, answer: ServedAnswer, byId: ReadonlyMap<string, PublishedVerdict>): string | undefined {
  for (const [path, text] of Object.entries(sample.json)) {
    const id = /"id":"([0-9a-f]{16})"/.exec(text)?.[1];
    if (id !== answer.id) return `${path} returns verdict ${id}, /flagger/metrics returns ${answer.id}`;
    const verdict = /"verdict":"(\w+)"/.exec(text)?.[1];
    if (!path.endsWith("/errors") && verdict !== answer.verdict)
      return `${path} returns ${verdict}, /flagger/metrics returns ${answer.verdict}`;
  }
  const stored = byId.get(answer.id);
  if (
    stored === undefined &&
    (answer.verdict !== "hold" || !["evaluator_down", "not_ready"].includes(answer.reasons[0]?.code ?? ""))
  )
    return `the shim returns ${answer.verdict} with verdict ${answer.id}, which was never published`;
  if (stored !== undefined) {
    const wanted = answer.stale && stored.body.verdict !== "fail" ? "hold" : stored.body.verdict;
    if (answer.verdict !== wanted)
      return `verdict ${answer.id} is ${stored.body.verdict}, and the shim returns ${answer.verdict}`;
    if (answer.run?.id !== stored.body.run?.id || answer.run?.state !== stored.body.run?.state)
      return `verdict ${answer.id} has another run than the shim's answer`;
  }
  for (const [dialect, value] of Object.entries(sample.prometheus)) {
    const counted = dialect !== "flagger" || answer.run?.gated === true;
    const wanted = answer.verdict === "pass" ? "1" : answer.verdict === "hold" && counted ? "0.5" : "0";
    if (value !== wanted) return `the verdict is ${answer.verdict}, and the query of ${dialect} returns ${value || "nothing"}`;
  }
  return undefined;
}

/** The table of the gates, restated; and what holds for any table. */
function wrongGate(sample: Sample, answer: ServedAnswer, stored: PublishedVerdict | undefined): string | undefined {
  const allowed = (gate: string): boolean => sample.gates[gate]?.allowed === true;
  const confirms = ["confirm-rollout", "confirm-traffic-increase", "confirm-promotion"].filter(allowed);
  if (allowed("rollback") && confirms.length > 0) return `the rollback gate returns 200, and so does ${confirms[0]}`;
  const { verdict, run } = answer;
  // The gates use every reason of the stored verdict; the JSON answer omits some if it would be too long.
  const isHard = [...answer.reasons, ...(stored?.body.reasons ?? [])].some(({ code }) => REASONS[code as ReasonCode].hard);
  const isReady = !isHard && run?.mac_release_ok !== false;
  // Nothing that was not read allows anything, and neither does what an operator aborted.
  const isClosed = run?.state === "aborted" || answer.reasons.some(({ code }) => code === "not_ready");
  const early = verdict === "pass" || (verdict === "hold" && isReady && !isClosed);
  const isOpenRun = run !== null && (["pending", "warming", "active"].includes(run.state) || run.canary_active);
  const present = [...answer.reasons, ...(stored?.body.reasons ?? [])].map(({ code }) => code);
  const isPromotable =
    run?.promotable === true && present.every((code) => ["low_traffic", "late", "hold_expired"].includes(code));
  const wanted: Record<string, boolean> = {
    "confirm-rollout": early,
    "confirm-traffic-increase": isOpenRun && (verdict === "pass" || (run.weight === 0 && early)),
    "confirm-promotion": verdict !== "fail" && isOpenRun && isPromotable,
    "pre-rollout": verdict !== "fail" && !isClosed,
    rollout: verdict !== "fail" && !isClosed,
    rollback: verdict === "fail",
    "post-rollout": true,
  };
  for (const [gate, open] of Object.entries(wanted)) {
    if (allowed(gate) !== open)
      return `the gate ${gate} is ${open ? "closed" : "open"} on a ${verdict} (${answer.reasons[0]?.code ?? "no reason"}): ${sample.gates[gate]?.text.trim()}`;
  }
  return undefined;
}

/**
 * How long after a newer verdict an older pass may still be served: the age at which the lease counts as lost, and the slowest
 * path through the network.
 */
const MAX_LAG_MS = 15_000 + 6_000;

/** A served pass must be valid by the shim's clock, and any newer verdict must have been known only briefly. */
function tooOld(
  { verdicts }: Case,
  sample: Sample,
  answer: ServedAnswer,
  stored: PublishedVerdict | undefined,
): string | undefined {
  if (answer.verdict !== "pass" || stored === undefined) return undefined;
  const byItsClock = sample.atMs + sample.wallOffsetMs;
  if (byItsClock > Date.parse(stored.body.valid_until))
    return `the shim serves a pass that was valid until ${stored.body.valid_until}`;
  const newer = verdicts.find(({ storedAtMs, body }) => storedAtMs > stored.storedAtMs && body.verdict !== "pass");
  if (newer !== undefined && sample.atMs - newer.storedAtMs > MAX_LAG_MS)
    return `the shim still serves a pass that was superseded at ${seconds(newer.storedAtMs - START_MS)}`;
  return undefined;
}
