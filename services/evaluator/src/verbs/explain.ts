/** `aviary explain <verdict-id>`: every number behind a verdict, in words. */
import { parseArgs } from "node:util";
import { REASONS } from "@aviary/shared/contract/reasons.ts";
import type { VerdictRecord } from "@aviary/shared/contract/verdict.ts";
import type { ClosedWindow } from "@aviary/shared/contract/window.ts";
import { terminal } from "@aviary/shared/shell/faults.ts";
import type { Verb, VerbIo } from "@aviary/shared/shell/verb.ts";
import { explainJudgement } from "../core/judge/explain.ts";
import { judge } from "../core/judge/judge.ts";
import type { JudgeMemory } from "../core/judge/outcome.ts";
import { JUDGED_WINDOWS } from "../core/judging.ts";
import type { Setup } from "../core/setup.ts";
import { verdictLine } from "../recording/story.ts";
import { openBus, openSetup, told } from "./open.ts";
import { readVerdicts } from "./read-verdicts.ts";

const USAGE = "explain <verdict-id> [--fleet aviary.yaml]";

export const explainVerb: Verb = {
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

async function readRecords(io: VerbIo): Promise<VerdictRecord[]> {
  const bus = await openBus(io);
  try {
    return await readVerdicts(bus, "all");
  } finally {
    await bus[Symbol.asyncDispose]();
  }
}

/** The verdict, its reasons, its conditions, and the judgement of its window, learned again from the records of its run. */
export function explanation(record: VerdictRecord, records: readonly VerdictRecord[], setup: Setup): string[] {
  const { body, evidence } = record;
  const lines = [verdictLine(body), ""];
  if (body.reasons.length === 0) lines.push("Every condition holds, and the judge has nothing against the canary.");
  for (const reason of body.reasons) lines.push(`${reason.code}: ${reason.text}`, `    ${REASONS[reason.code].meaning}`);
  if (body.reasons_more) lines.push(`and ${body.reasons_more} more reasons`);
  for (const warning of body.warnings) lines.push(`(warning) ${warning.code}: ${warning.text}`);
  const { gateway, judge: said } = body;
  lines.push(
    "",
    `gateways: ${gateway.fresh} of ${gateway.expected} fresh; process ${ok(gateway.process_ok)}, worker ${ok(gateway.worker_reachable)}, dependencies ${ok(gateway.deps_ok)}, disk ${ok(gateway.disk_ok)}, Doctor ${ok(gateway.doctor_ok)}`,
  );
  lines.push(
    `literal rule: ${said.literal} (${said.consecutive_over} windows over in a row); two-key rule: ${said.two_key}; in force: ${said.mode}, evidence ${said.evidence}, traffic ${said.traffic}`,
  );
  const closed = evidence.closed;
  if (closed === null) return [...lines, "", "No window had closed: no traffic was judged."];
  lines.push(
    `window ${closed.window.index}: ${closed.window.start} to ${closed.window.end}, weight ${closed.window.weight} %, ${closed.complete ? "complete" : "incomplete"}, ${closed.late} late signals`,
  );
  for (const gap of closed.gaps) lines.push(`    ${gap}`);
  const policy = setup.canaries.get(`${body.subject.namespace}/${body.subject.name}`)?.policy;
  if (policy === undefined || body.run === null) return lines;
  const windows = judgedWindows(record, records);
  const last = windows.at(-1);
  if (last === undefined) return [...lines, "", "The run was not active in this window: no traffic was judged."];
  let memory: JudgeMemory | null = null;
  const hasStable = body.stable !== null;
  const run = (judged: number) => ({ judged, memory, reference: evidence.reference, hasStable });
  const upTo = (count: number): ClosedWindow[] => windows.slice(Math.max(0, count - JUDGED_WINDOWS), count);
  for (let count = 1; count < windows.length; count++) memory = judge(upTo(count), policy, run(count - 1)).memory;
  return [...lines, "", ...explainJudgement(upTo(windows.length), policy, run(windows.length - 1))];
}

const ok = (good: boolean): string => (good ? "ok" : "NOT ok");

/** The windows of the run that were judged up to this verdict, each once, oldest first. */
function judgedWindows(record: VerdictRecord, records: readonly VerdictRecord[]): ClosedWindow[] {
  const windows = new Map<number, ClosedWindow>();
  for (const { body, evidence } of records) {
    if (body.run?.id !== record.body.run?.id || body.subject.name !== record.body.subject.name || evidence.closed === null)
      continue;
    // The verdict that fails is published as failed, and its window was still judged; later ones are not.
    const active = body.run?.state === "active" || (body.run?.state === "failed" && body.run.latched_by === null);
    if (active && Date.parse(body.at) <= Date.parse(record.body.at)) windows.set(evidence.closed.window.index, evidence.closed);
  }
  return [...windows.values()].sort((a, b) => a.window.index - b.window.index);
}
