/** `aviary diff-policy`: which verdicts another policy would have given over the recorded windows of production. */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { policySchema } from "@aviary/shared/contract/policy.ts";
import { canaryKey, verdictSubject } from "@aviary/shared/contract/subjects.ts";
import { systemClock } from "@aviary/shared/shell/clock.ts";
import { loadYamlFile } from "@aviary/shared/shell/config.ts";
import { terminal } from "@aviary/shared/shell/faults.ts";
import type { Verb, VerbIo } from "@aviary/shared/shell/verb.ts";
import { type RejudgedRun, rejudge } from "../core/rejudge.ts";
import { durationArg, openBus, openSetup, told } from "./open.ts";
import { readVerdicts } from "./read-verdicts.ts";

const USAGE = "diff-policy --policy new.yaml [--since 7d] [--fleet aviary.yaml] [--json]";

export const diffPolicyVerb: Verb = {
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
        for (const canary of setup.canaries.values()) {
          const records = await readVerdicts(bus, { time: fromMs }, [verdictSubject(canary.ref)]);
          print(canaryKey(canary.ref), rejudge(records, policy), values.json, io);
        }
        return 0;
      } finally {
        await bus[Symbol.asyncDispose]();
      }
    }),
};

function print(canary: string, runs: readonly RejudgedRun[], json: boolean, io: VerbIo): void {
  for (const { run, verdicts, failedAt, wouldFailAt } of runs) {
    const changed = verdicts.filter(({ record, verdict }) => record.body.verdict !== verdict);
    if (json) {
      io.stdout.write(
        `${JSON.stringify({ canary, run, verdicts: verdicts.length, changed: changed.length, failed_at: failedAt, would_fail_at: wouldFailAt })}\n`,
      );
      continue;
    }
    io.stdout.write(
      `${canary} run ${run}: ${verdicts.length} verdicts, ${changed.length} would differ; ${rollback(failedAt, wouldFailAt)}\n`,
    );
    for (const { record, verdict, reasons } of changed) {
      const why = reasons[0] === undefined ? "" : `  ${reasons[0].code}: ${reasons[0].text}`;
      io.stdout.write(`  ${record.body.at}  ${record.body.verdict} → ${verdict}${why}  ${record.body.id}\n`);
    }
  }
  if (runs.length === 0 && !json) io.stdout.write(`${canary}: no run in this time\n`);
}

function rollback(failedAt: string | null, wouldFailAt: string | null): string {
  if (failedAt === wouldFailAt) return failedAt === null ? "no rollback either way" : `rolled back at ${failedAt} either way`;
  if (failedAt === null) return `would have rolled back at ${wouldFailAt}; it did not`;
  if (wouldFailAt === null) return `rolled back at ${failedAt}; would not have`;
  return `rolled back at ${failedAt}; would have at ${wouldFailAt}`;
}
