/** `aviary diff-policy`: which verdicts another policy would have given over the recorded windows of production. */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import type { Command } from "@aviary/shared/commands/command.ts";
import { policySchema } from "@aviary/shared/contract/policy.ts";
import { canaryKey, verdictSubject } from "@aviary/shared/contract/subjects.ts";
import { systemClock } from "@aviary/shared/runtime/clock.ts";
import { loadYamlFile } from "@aviary/shared/runtime/config.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import { type RejudgedRun, rejudge } from "../core/rejudge.ts";
import { durationArg, openBus, openSetup, told } from "./open.ts";
import { readVerdicts } from "./read-verdicts.ts";

const USAGE = "diff-policy --policy new.yaml [--since 7d] [--fleet aviary.yaml] [--json]";

export const diffPolicyVerb: Command = {
  name: "diff-policy",
  summary: "say which recorded verdicts another policy would change",
  usage: USAGE,
  run: (args, io) =>
    told(USAGE, io, async () => {
      const { values } = parseArgs({
        args: [...args],
        options: {
          policy: { type: "string" },
          since: { type: "string", default: "7d" },
          fleet: { type: "string" },
          json: { type: "boolean", default: false },
        },
      });
      if (values.policy === undefined) throw terminal("usage", "name the other policy with --policy");
      const policy = await loadYamlFile(resolve(values.policy), policySchema);
      const { setup } = await openSetup(values.fleet, io);
      const fromMs = systemClock.now() - durationArg("since", values.since);
      const bus = await openBus(io);
      try {
        for (const { ref, policy: own } of setup.canaries.values()) {
          if (policy.windowMs !== own.windowMs)
            io.stderr.write(`${canaryKey(ref)}: cannot change \`window\`: recorded windows are ${own.windowMs / 1000} s\n`);
          // A run that was under way then is judged from its beginning; it lasts no longer than its policy lets it.
          const longestMs = Math.max(own.maxPendingMs, own.maxRunMs);
          const records = await readVerdicts(bus, { time: fromMs - longestMs }, [verdictSubject(ref)]);
          const runs = rejudge(records, policy).flatMap((run) => since(run, fromMs));
          io.stdout.write(differences(canaryKey(ref), runs, values.json));
        }
        return 0;
      } finally {
        await bus[Symbol.asyncDispose]();
      }
    }),
};

/** The run with those of its verdicts that are no older; none when all are. */
function since(run: RejudgedRun, fromMs: number): RejudgedRun[] {
  const verdicts = run.verdicts.filter(({ record }) => Date.parse(record.body.at) >= fromMs);
  return verdicts.length === 0 ? [] : [{ ...run, verdicts }];
}

/** What is printed of the runs of one canary: as text, or as one line of JSON a run. */
export function differences(canary: string, runs: readonly RejudgedRun[], json: boolean): string {
  const lines = runs.flatMap((run) => (json ? [JSON.stringify(asJson(canary, run))] : asText(canary, run)));
  if (runs.length === 0 && !json) lines.push(`${canary}: no run in this time`);
  return lines.map((line) => `${line}\n`).join("");
}

const changedOf = ({ verdicts }: RejudgedRun) => verdicts.filter(({ record, verdict }) => record.body.verdict !== verdict);

function asText(canary: string, run: RejudgedRun): string[] {
  const changed = changedOf(run);
  const head = `${canary} run ${run.run}: ${run.verdicts.length} verdicts, ${changed.length} would differ; ${rollback(run.failedAt, run.wouldFailAt)}`;
  return [
    head,
    ...changed.map(({ record: { body }, verdict, reasons: [first] }) => {
      const why = first === undefined ? "" : `  ${first.code}: ${first.text}`;
      return `  ${body.at}  ${body.verdict} → ${verdict}${why}  ${body.id}`;
    }),
  ];
}

function asJson(canary: string, run: RejudgedRun): object {
  const changed = changedOf(run).map(({ record: { body }, verdict, reasons }) => ({
    id: body.id,
    at: body.at,
    verdict: body.verdict,
    would_be: verdict,
    reasons,
  }));
  return {
    canary,
    run: run.run,
    verdicts: run.verdicts.length,
    changed,
    failed_at: run.failedAt,
    would_fail_at: run.wouldFailAt,
  };
}

function rollback(failedAt: string | null, wouldFailAt: string | null): string {
  if (failedAt === wouldFailAt) return failedAt === null ? "no rollback either way" : `rolled back at ${failedAt} either way`;
  if (failedAt === null) return `would have rolled back at ${wouldFailAt}; it did not`;
  if (wouldFailAt === null) return `rolled back at ${failedAt}; would not have`;
  return `rolled back at ${failedAt}; would have at ${wouldFailAt}`;
}
