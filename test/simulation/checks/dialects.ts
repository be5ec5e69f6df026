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
    const counted = dialect !== "flagger" || (isOpenRun(answer.run) && answer.run?.gated === true);
    // A newly started shim has no number for Flagger yet.
    if (dialect === "flagger" && value === "" && answer.reasons.some(({ code }) => code === "not_ready")) continue;
    const wanted = answer.verdict === "pass" ? "1" : answer.verdict === "hold" && counted ? "0.5" : "0";
    if (value !== wanted) return `the verdict is ${answer.verdict}, and the query of ${dialect} returns ${value || "nothing"}`;
  }
  return undefined;
}

const isOpenRun = (run: PublishedBody["run"]): boolean =>
  run !== null && (["pending", "warming", "active"].includes(run.state) || run.canary_active);

/** An operator's abort is final for controllers; a controller's is the end that it reports itself. */
const isAbortedByOperator = (sample: Sample, state: string | undefined): boolean =>
  state === "aborted" && sample.gates["confirm-rollout"]?.text.includes("operator") === true;

/** A latched failure hides in the JSON answer that the shim has not caught up; its gates name it. */
const isNotCaughtUp = (sample: Sample): boolean => sample.gates.rollback?.text.includes("has not read the stored") === true;

/** The table of the gates, restated; and what holds for any table. */
function wrongGate(sample: Sample, answer: ServedAnswer, stored: PublishedVerdict | undefined): string | undefined {
  const allowed = (gate: string): boolean => sample.gates[gate]?.allowed === true;
  const widening = ["confirm-traffic-increase", "confirm-promotion"].filter(allowed);
  if (allowed("rollback") && widening.length > 0) return `the rollback gate returns 200, and so does ${widening[0]}`;
  const { verdict } = answer;
  // The gates use every reason and fact of the stored verdict; the JSON answer omits some if it would be too long.
  const run = answer.run === null ? null : { ...(stored?.body.run ?? answer.run), promotable: answer.run.promotable };
  const codesOf = (reasons: readonly { readonly code: string }[] | undefined) => (reasons ?? []).map(({ code }) => code);
  const isOpen = isOpenRun(run);
  const present = [...codesOf(answer.reasons), ...codesOf(stored?.body.reasons)];
  // An answer whose verdict is no longer valid adds that to what the evaluator published.
  const expired = answer.stale === true ? ["evaluator_down"] : [];
  const current = isOpen || stored?.body.current === undefined ? present : [...codesOf(stored.body.current), ...expired];
  const isHard = current.some((code) => REASONS[code as ReasonCode].hard);
  const isFailing = isOpen && verdict === "fail";
  // A verdict that was not read allows nothing, and neither does a run that an operator aborted.
  const isUnread = present.includes("not_ready") || (answer.stale === true && isNotCaughtUp(sample));
  const early = isOpen
    ? !isFailing && (verdict === "pass" || (!isHard && run?.mac_release_ok === true))
    : !isHard && !isAbortedByOperator(sample, run?.state);
  const isPromotable =
    run?.promotable === true && present.every((code) => ["low_traffic", "late", "hold_expired"].includes(code));
  const isAtZero = run?.weight === 0 && !run.granted;
  const proceeds = !isUnread && (isOpen ? !isFailing : !["failed", "aborted"].includes(run?.state ?? ""));
  const wanted: Record<string, boolean> = {
    "confirm-rollout": !isUnread && early,
    "confirm-traffic-increase": !isUnread && isOpen && !isFailing && (verdict === "pass" || (isAtZero && early)),
    "confirm-promotion": !isUnread && isOpen && !isFailing && isPromotable,
    "pre-rollout": proceeds,
    rollout: proceeds,
    rollback: !isUnread && (isFailing || run?.state === "failed"),
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
