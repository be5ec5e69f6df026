/** `aviary explain <verdict-id>`: every number behind a verdict, in words. */
import { parseArgs } from "node:util";
import type { Command, CommandIo } from "@aviary/shared/commands/command.ts";
import type { Policy } from "@aviary/shared/contract/policy.ts";
import { REASONS } from "@aviary/shared/contract/reasons.ts";
import type { VerdictBody, VerdictRecord } from "@aviary/shared/contract/verdict.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import { explainJudgement } from "../core/judge/explain.ts";
import { judge } from "../core/judge/judge.ts";
import type { JudgeMemory } from "../core/judge/outcome.ts";
import { grouped, milliseconds, percent } from "../core/judge/words.ts";
import { JUDGED_WINDOWS } from "../core/judge-closed-window.ts";
import { wasJudged } from "../core/rejudge.ts";
import type { ResolvedConfig } from "../core/resolved-config.ts";
import { verdictLine } from "../recording/story.ts";
import { openBus, openSetup, told } from "./open.ts";
import { readVerdicts } from "./read-verdicts.ts";

const USAGE = "explain <verdict-id> [--fleet aviary.yaml]";

export const explainVerb: Command = {
  name: "explain",
  summary: "every number behind a verdict, in words",
  usage: USAGE,
  run: (args, io) =>
    told(USAGE, io, async () => {
      const { values, positionals } = parseArgs({
        args: [...args],
        allowPositionals: true,
        options: { fleet: { type: "string" } },
      });
      const [id] = positionals;
      if (id === undefined || !/^[0-9a-f]{6,16}$/.test(id))
        throw terminal("usage", "name a verdict by its id, or the first six digits of it");
      const { setup } = await openSetup(values.fleet, io);
      const records = await readRecords(io);
      const found = records.filter((record) => record.body.id.startsWith(id));
      if (found.length === 0)
        throw terminal("not_found", `no verdict ${id} among the ${records.length} that VERDICTS holds (30 days)`);
      if (found.length > 1) throw terminal("ambiguous", `${found.length} verdicts begin with ${id}: give more digits`);
      io.stdout.write(`${explanation(found[0]!, records, setup).join("\n")}\n`);
      return 0;
    }),
};

async function readRecords(io: CommandIo): Promise<VerdictRecord[]> {
  const bus = await openBus(io);
  try {
    return await readVerdicts(bus, "all");
  } finally {
    await bus[Symbol.asyncDispose]();
  }
}

/** The verdict, its reasons, its conditions, and the judgement of its window, learned again from the records of its run. */
export function explanation(record: VerdictRecord, records: readonly VerdictRecord[], setup: ResolvedConfig): string[] {
  return [...reasonLines(record.body), "", ...factLines(record), "", ...judgementLines(record, records, setup)];
}

function reasonLines(body: VerdictBody): string[] {
  const lines = [verdictLine(body), ""];
  if (body.reasons.length === 0) lines.push("Every condition holds, and the judge has nothing against the canary.");
  for (const reason of body.reasons) lines.push(`${reason.code}: ${reason.text}`, `    ${REASONS[reason.code].meaning}`);
  if (body.reasons_more) lines.push(`and ${body.reasons_more} more reasons`);
  for (const warning of body.warnings) lines.push(`(warning) ${warning.code}: ${warning.text}`);
  return lines;
}

/** What the verdict itself says of the gateways, the run, the queue, both rules and its window. */
function factLines({ body, evidence: { closed } }: VerdictRecord): string[] {
  const { gateway, judge: said, run, thresholds, canary, stable } = body;
  const lines = [
    `gateways: ${gateway.fresh} of ${gateway.expected} fresh; process ${ok(gateway.process_ok)}, worker ${ok(gateway.worker_reachable)}, dependencies ${ok(gateway.deps_ok)}, disk ${ok(gateway.disk_ok)}, Doctor ${ok(gateway.doctor_ok)}`,
  ];
  if (run !== null)
    lines.push(
      `run ${run.id}: ${run.state}, weight ${run.weight} %, windows passed in a row: ${said.consecutive_pass}, ${run.promotable ? "promotable" : "not promotable"}`,
    );
  if (gateway.queue_depth !== null)
    lines.push(`queue: ${grouped(gateway.queue_depth)} jobs wait, at most ${grouped(thresholds.max_queue_depth)} may`);
  lines.push(
    `literal rule: ${said.literal} (windows over in a row: ${said.consecutive_over}); two-key rule: ${said.two_key}; in force: ${said.mode}, evidence ${said.evidence}, traffic ${said.traffic}`,
  );
  if (closed === null) return lines;
  const { index, start, end, weight } = closed.window;
  lines.push(
    `window ${index}: ${start} to ${end}, weight ${weight} %, ${closed.complete ? "complete" : "incomplete"}, ${closed.late} late signals`,
    ...closed.gaps.map((gap) => `    ${gap}`),
    `    canary: ${sliceText(canary)}; stable: ${stable === null ? "none" : sliceText(stable)}`,
  );
  return lines;
}

function judgementLines(record: VerdictRecord, records: readonly VerdictRecord[], setup: ResolvedConfig): string[] {
  const { body, evidence } = record;
  if (evidence.closed === null) return ["No window had closed: no traffic was judged."];
  if (body.run === null) return ["There was no run: no traffic was judged."];
  const today = setup.canaries.get(`${body.subject.namespace}/${body.subject.name}`)?.policy;
  if (today === undefined) return ["This canary is not in the fleet file any more: how it was judged cannot be told."];
  const windows = judgedWindows(record, records);
  if (windows.length === 0) return ["No window has closed since the run became active: no traffic was judged."];
  const policy = policyOfThen(today, body);
  let memory: JudgeMemory | null = null;
  const run = (judged: number) => ({ judged, memory, reference: evidence.reference, hasStable: body.stable !== null });
  const upTo = (count: number): ClosedWindow[] => windows.slice(Math.max(0, count - JUDGED_WINDOWS), count);
  for (let count = 1; count < windows.length; count++) memory = judge(upTo(count), policy, run(count - 1)).memory;
  const judged = [upTo(windows.length), policy, run(windows.length - 1)] as const;
  // A run's first record is of its opening, and every window gives another.
  const first = records.find((one) => one.body.run?.id === body.run!.id)!;
  const isWhole = Date.parse(first.body.at) <= Date.parse(body.run.since) + policy.windowMs;
  const isSame = body.judge.luck === null || body.judge.luck === judge(...judged).luck;
  const caution = "Not all as it was judged then: earlier records of the run are gone, or the histograms in them are coarser.";
  return [...(isWhole && isSame ? [] : [caution, ""]), ...explainJudgement(...judged)];
}

function sliceText({ requests, errors_5xx, "5xx_rate": rate, p99_ms }: VerdictBody["canary"]): string {
  const failed = rate === null ? "" : `, ${grouped(errors_5xx)} failed (${percent(rate)})`;
  return `${grouped(requests)} requests${failed}${p99_ms === null ? "" : `, p99 ${milliseconds(p99_ms)}`}`;
}

/** The policy that the verdict was given under, whatever the file says today: as far as the judge reads it, a verdict tells. */
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
      maxQueueDepth: thresholds.max_queue_depth,
    },
  };
}

const ok = (good: boolean): string => (good ? "ok" : "NOT ok");

/** The windows of the run that were judged up to this verdict, each once, oldest first. */
function judgedWindows(record: VerdictRecord, records: readonly VerdictRecord[]): ClosedWindow[] {
  const windows = new Map<number, ClosedWindow>();
  for (const { body, evidence } of records) {
    if (body.run?.id !== record.body.run?.id || body.subject.name !== record.body.subject.name || evidence.closed === null)
      continue;
    // The verdict that fails is published as failed, and its window was still judged; later ones are not.
    const judged = wasJudged(body) && (body.run?.state === "active" || body.run?.latched_by === null);
    if (judged && Date.parse(body.at) <= Date.parse(record.body.at)) windows.set(evidence.closed.window.index, evidence.closed);
  }
  return [...windows.values()].sort((a, b) => a.window.index - b.window.index);
}
