/** `aviary explain`: the verdict, the facts behind it and the judge's numbers, recomputed from the records of its run. */
import { EXIT } from "@aviary/shared/commands/command.ts";
import { openBus } from "@aviary/shared/commands/open-bus.ts";
import { columnsOf, wrapText } from "@aviary/shared/commands/terminal-text.ts";
import type { Policy } from "@aviary/shared/contract/policy.ts";
import { REASONS } from "@aviary/shared/contract/reasons.ts";
import { formatCount } from "@aviary/shared/contract/units.ts";
import { formatWeight, type VerdictBody, type VerdictRecord } from "@aviary/shared/contract/verdict.ts";
import type { ClosedWindow, SliceAccount } from "@aviary/shared/contract/window.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import { JUDGED_WINDOWS } from "../../core/apply-closed-window.ts";
import { explainJudgment } from "../../core/judge/explain.ts";
import { grouped, milliseconds, percent } from "../../core/judge/format.ts";
import { judge } from "../../core/judge/judge.ts";
import type { JudgeMemory } from "../../core/judge/outcome.ts";
import { UNNAMED_RULE } from "../../core/judge/rule-version.ts";
import { wasJudged } from "../../core/rejudge-verdicts.ts";
import type { ResolvedConfig } from "../../core/resolved-config.ts";
import { verdictLine } from "../../recording/verdict-lines.ts";
import type { ExplainCall } from "../explain.ts";
import { openConfig } from "../open-config.ts";
import { readVerdicts } from "../read-verdicts.ts";

export async function explain({ args: { verdict: id }, options, io, resources }: ExplainCall): Promise<number> {
  const config = await openConfig(options.fleet);
  const bus = resources.add(await openBus(io));
  const records = await readVerdicts(bus, "all");
  const [found, ...others] = records.filter((record) => record.body.id.startsWith(id));
  if (found === undefined)
    throw terminal("not_found", `no verdict ${id} among the ${records.length} in VERDICTS, which keeps 30 days`);
  if (others.length > 0) throw terminal("ambiguous", `${others.length + 1} verdicts begin with ${id}: give more digits`);
  const columns = columnsOf(io.stdout);
  for (const line of explanation(found, records, config)) io.stdout.write(`${wrapped(line, columns).join("\n")}\n`);
  return EXIT.success;
}

/** Continuation lines are indented further than the line they continue. */
function wrapped(line: string, columns: number): string[] {
  const indent = /^ */.exec(line)?.[0] ?? "";
  return wrapText(line, columns, `${indent}    `);
}

/** The explanation as lines. @param records all records of the run, oldest first */
export function explanation(record: VerdictRecord, records: readonly VerdictRecord[], config: ResolvedConfig): string[] {
  return [...reasonLines(record.body), "", ...factLines(record), "", ...judgmentLines(record, records, config)];
}

function reasonLines(body: VerdictBody): string[] {
  const lines = [verdictLine(body), ""];
  if (body.reasons.length === 0) lines.push("Healthy: no reasons.");
  for (const reason of body.reasons) lines.push(`${reason.code}: ${reason.text}`, `    ${REASONS[reason.code].meaning}`);
  if (body.reasons_more) lines.push(`and ${formatCount(body.reasons_more, "more reason")}`);
  for (const warning of body.warnings) lines.push(`(warning) ${warning.code}: ${warning.text}`);
  return lines;
}

/** The facts in the verdict itself: gateways, run, queue, both rules and the window. */
function factLines({ body, evidence: { closed } }: VerdictRecord): string[] {
  const { gateway, judge: outcome, run, thresholds, canary, stable } = body;
  const lines = [
    `gateways: ${gateway.fresh} of ${gateway.expected} fresh; process ${ok(gateway.process_ok)}, worker ${ok(gateway.worker_reachable)}, dependencies ${ok(gateway.deps_ok)}, disk ${ok(gateway.disk_ok)}, Doctor ${ok(gateway.doctor_ok)}`,
  ];
  if (run !== null)
    lines.push(
      `run ${run.id}: ${run.state}, weight ${formatWeight(run.weight)}, consecutive passing windows: ${outcome.consecutive_pass}, ${run.promotable ? "promotable" : "not promotable"}`,
    );
  if (gateway.queue_depth !== null)
    lines.push(`queue: ${grouped(gateway.queue_depth)} jobs waiting, at most ${grouped(thresholds.max_queue_depth)} allowed`);
  lines.push(
    `literal rule: ${outcome.literal} (consecutive windows over: ${outcome.consecutive_over}); two-key rule: ${outcome.two_key}; in force: ${outcome.mode}, evidence ${outcome.evidence}, traffic ${outcome.traffic}`,
  );
  if (closed === null) return lines;
  const { index, start, end, weight } = closed.window;
  lines.push(
    `window ${index}: ${start} to ${end}, weight ${formatWeight(weight)}, ${closed.complete ? "complete" : "incomplete"}, ${closed.late} late signals`,
    ...closed.gaps.map((gap) => `    ${gap}`),
    ...(closed.accounts ?? []).map((account) => `    ${accountText(account)}`),
    `    canary: ${sliceText(canary)}; stable: ${stable === null ? "none" : sliceText(stable)}`,
  );
  return lines;
}

/** `canary: 1,800 requests reported, 1,500 merged, 300 excluded (warming 300)` */
function accountText({ slice, seen, merged, excluded }: SliceAccount): string {
  const causes = Object.entries(excluded).map(([why, count]) => `${why} ${grouped(count)}`);
  const excludedText = causes.length === 0 ? "none excluded" : `${grouped(seen - merged)} excluded (${causes.join(", ")})`;
  return `${slice}: ${grouped(seen)} requests reported, ${grouped(merged)} merged, ${excludedText}`;
}

function judgmentLines(record: VerdictRecord, records: readonly VerdictRecord[], config: ResolvedConfig): string[] {
  const { body, evidence } = record;
  if (evidence.closed === null) return ["No traffic was judged: no window had closed."];
  if (body.run === null) return ["No traffic was judged: no run was open."];
  const today = config.canaries.get(`${body.subject.namespace}/${body.subject.name}`)?.policy;
  if (today === undefined) return ["Cannot explain the judgment: this canary is no longer in the fleet file."];
  const windows = judgedWindows(record, records);
  if (windows.length === 0) return ["No traffic was judged: no window has closed since the run became active."];
  const { lines, isExact } = recompute(record, records, windows, policyOfThen(today, body));
  const caution =
    "Recomputed figures may differ from the original ones: earlier records of the run have expired, or their histograms are coarser.";
  return [...(isExact ? [] : [caution, ""]), ...lines];
}

/** Judges the windows of the run again, in order, and explains the last judgment. */
function recompute(
  { body, evidence }: VerdictRecord,
  records: readonly VerdictRecord[],
  windows: readonly ClosedWindow[],
  policy: Policy,
): { lines: string[]; isExact: boolean } {
  let memory: JudgeMemory | null = null;
  const run = (judged: number) => ({
    judged,
    memory,
    reference: evidence.reference,
    hasStable: body.stable !== null,
    rule: body.judge.rule ?? UNNAMED_RULE,
  });
  const upTo = (count: number): ClosedWindow[] => windows.slice(Math.max(0, count - JUDGED_WINDOWS), count);
  for (let count = 1; count < windows.length; count++) memory = judge(upTo(count), policy, run(count - 1)).memory;
  const judged = [upTo(windows.length), policy, run(windows.length - 1)] as const;
  // The first record of a run is of its opening; each window adds one.
  const first = records.find((candidate) => candidate.body.run?.id === body.run?.id);
  const isComplete = first !== undefined && Date.parse(first.body.at) <= Date.parse(body.run?.since ?? "") + policy.windowMs;
  const isSame = body.judge.luck === null || body.judge.luck === judge(...judged).pValue;
  return { lines: explainJudgment(...judged), isExact: isComplete && isSame };
}

function sliceText({ requests, errors_5xx, "5xx_rate": rate, p99_ms }: VerdictBody["canary"]): string {
  const failed = rate === null ? "" : `, ${grouped(errors_5xx)} failed (${percent(rate)})`;
  return `${grouped(requests)} requests${failed}${p99_ms === null ? "" : `, p99 ${milliseconds(p99_ms)}`}`;
}

/** The policy at the time of the verdict: today's, with the settings that the verdict recorded. */
function policyOfThen(today: Policy, { judge: { evidence, traffic, mode }, thresholds }: VerdictBody): Policy {
  return {
    ...today,
    mode,
    evidence,
    traffic,
    thresholds: {
      max5xxRate: thresholds.max_5xx_rate,
      maxP99Ms: thresholds.max_p99_ms,
      maxP99RegressionRatio: thresholds.max_p99_regression_ratio,
      minLatencyDeltaMs: thresholds.min_latency_delta_ms ?? 0,
      maxQueueDepth: thresholds.max_queue_depth,
    },
  };
}

const ok = (isOk: boolean): string => (isOk ? "ok" : "NOT ok");

/** The judged windows of the run up to this verdict, oldest first. */
function judgedWindows(record: VerdictRecord, records: readonly VerdictRecord[]): ClosedWindow[] {
  const windows = new Map<number, ClosedWindow>();
  for (const { body, evidence } of records) {
    if (body.run?.id !== record.body.run?.id || body.subject.name !== record.body.subject.name || evidence.closed === null)
      continue;
    // The window of the verdict that failed the run is the last one that was judged.
    const judged = wasJudged(body) && (body.run?.state === "active" || body.run?.latched_by === null);
    if (judged && Date.parse(body.at) <= Date.parse(record.body.at)) windows.set(evidence.closed.window.index, evidence.closed);
  }
  return [...windows.values()].sort((a, b) => a.window.index - b.window.index);
}
