/**
 * Invariants 11, 9 and 4 at the door: whatever the shim says at one instant, in whichever dialect, is one stored verdict, not older than
 * it may be, and the gates follow their table.
 */
import { REASONS, type ReasonCode } from "@aviary/shared/contract/reasons.ts";
import type { Sample } from "../history.ts";
import { START_MS } from "../kernel.ts";
import type { Body, Case, Check, PublishedVerdict } from "./check.ts";
import { seconds } from "./check.ts";

interface Said extends Body {
  readonly stale?: boolean;
}

export const oneVerdictInEveryDialect: Check = (checked) => {
  const byId = new Map(checked.verdicts.map((verdict) => [verdict.body.id, verdict]));
  for (const sample of checked.finished.history.samples) {
    const atMs = sample.atMs - START_MS;
    const said = JSON.parse(sample.json["/flagger/metrics"]!) as Said;
    const what = unlike(sample, said, byId);
    if (what !== undefined) return { invariant: "11", what: `at ${seconds(atMs)} ${what}`, atMs };
    const wrong = wrongGate(sample, said, byId.get(said.id));
    if (wrong !== undefined) return { invariant: "9", what: `at ${seconds(atMs)} ${wrong}`, atMs };
    const old = tooOld(checked, sample, said, byId.get(said.id));
    if (old !== undefined) return { invariant: "4", what: `at ${seconds(atMs)} ${old}`, atMs };
  }
  return undefined;
};

/** Does anything differ between the dialects, or from what was stored? */
function unlike(sample: Sample, said: Said, byId: ReadonlyMap<string, PublishedVerdict>): string | undefined {
  for (const [path, text] of Object.entries(sample.json)) {
    const id = /"id":"([0-9a-f]{16})"/.exec(text)?.[1];
    if (id !== said.id) return `${path} tells verdict ${id}, /flagger/metrics tells ${said.id}`;
    const verdict = /"verdict":"(\w+)"/.exec(text)?.[1];
    if (!path.endsWith("/errors") && verdict !== said.verdict)
      return `${path} says ${verdict}, /flagger/metrics says ${said.verdict}`;
  }
  const stored = byId.get(said.id);
  if (stored === undefined && (said.verdict !== "hold" || said.reasons[0]?.code !== "evaluator_down"))
    return `the shim says ${said.verdict} by verdict ${said.id}, which nobody published`;
  if (stored !== undefined) {
    const wanted = said.stale && stored.body.verdict !== "fail" ? "hold" : stored.body.verdict;
    if (said.verdict !== wanted) return `verdict ${said.id} is ${stored.body.verdict}, and the shim says ${said.verdict}`;
    if (said.run?.id !== stored.body.run?.id || said.run?.state !== stored.body.run?.state)
      return `verdict ${said.id} speaks of another run than the shim does`;
  }
  for (const [dialect, value] of Object.entries(sample.prometheus)) {
    const counted = dialect !== "flagger" || said.run?.gated === true;
    const wanted = said.verdict === "pass" ? "1" : said.verdict === "hold" && counted ? "0.5" : "0";
    if (value !== wanted) return `the verdict is ${said.verdict}, and the query of ${dialect} answers ${value || "nothing"}`;
  }
  return undefined;
}

/** The table of the gates, written once more; and what must hold whatever the table says. */
function wrongGate(sample: Sample, said: Said, stored: PublishedVerdict | undefined): string | undefined {
  const allowed = (gate: string): boolean => sample.gates[gate]?.allowed === true;
  const confirms = ["confirm-rollout", "confirm-traffic-increase", "confirm-promotion"].filter(allowed);
  if (allowed("rollback") && confirms.length > 0) return `the rollback gate says 200, and so does ${confirms[0]}`;
  const { verdict, run } = said;
  // The gates see every reason of the stored verdict; the JSON answer leaves some out where it would get too long.
  const isHard = [...said.reasons, ...(stored?.body.reasons ?? [])].some(({ code }) => REASONS[code as ReasonCode].hard);
  const isReady = !isHard && run?.mac_release_ok !== false;
  const isAborted = run?.state === "aborted";
  const early = verdict === "pass" || (verdict === "hold" && isReady && !isAborted);
  const wanted: Record<string, boolean> = {
    "confirm-rollout": early,
    "confirm-traffic-increase": verdict === "pass" || ((run?.weight ?? 0) === 0 && early),
    "confirm-promotion": verdict !== "fail" && !isAborted && run?.promotable === true,
    "pre-rollout": verdict !== "fail",
    rollout: verdict !== "fail",
    rollback: verdict === "fail",
    "post-rollout": true,
  };
  for (const [gate, open] of Object.entries(wanted)) {
    if (allowed(gate) !== open)
      return `the gate ${gate} is ${open ? "closed" : "open"} on a ${verdict} (${said.reasons[0]?.code ?? "no reason"}): ${sample.gates[gate]?.text.trim()}`;
  }
  return undefined;
}

/** How long after a newer verdict an older pass may still be told: the age at which the lease counts as gone, and the slowest way through the network. */
const MAX_LAG_MS = 15_000 + 6_000;

/** A pass that is told must be valid by the shim's clock, and nothing newer may have been known for long. */
function tooOld({ verdicts }: Case, sample: Sample, said: Said, stored: PublishedVerdict | undefined): string | undefined {
  if (said.verdict !== "pass" || stored === undefined) return undefined;
  const byItsClock = sample.atMs + sample.wallOffsetMs;
  if (byItsClock > Date.parse(stored.body.valid_until))
    return `the shim tells a pass that was valid until ${stored.body.valid_until}`;
  const newer = verdicts.find(({ storedAtMs, body }) => storedAtMs > stored.storedAtMs && body.verdict !== "pass");
  if (newer !== undefined && sample.atMs - newer.storedAtMs > MAX_LAG_MS)
    return `the shim still tells a pass that was overtaken at ${seconds(newer.storedAtMs - START_MS)}`;
  return undefined;
}
