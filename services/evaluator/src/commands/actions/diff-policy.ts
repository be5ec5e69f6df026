/** `aviary diff-policy`: judges the recorded windows again under another policy. */
import { EXIT } from "@aviary/shared/commands/command.ts";
import { openBus } from "@aviary/shared/commands/open-bus.ts";
import { type Policy, policySchema } from "@aviary/shared/contract/policy.ts";
import { canaryKey, verdictSubject } from "@aviary/shared/contract/subjects.ts";
import { formatDuration } from "@aviary/shared/contract/units.ts";
import type { VerdictRecord } from "@aviary/shared/contract/verdict.ts";
import { systemClock } from "@aviary/shared/runtime/clock.ts";
import { loadYamlFile } from "@aviary/shared/runtime/config.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import { type RejudgedRun, rejudge } from "../../core/rejudge-verdicts.ts";
import type { DiffPolicyCall } from "../diff-policy.ts";
import { openConfig } from "../open-config.ts";
import { readVerdicts } from "../read-verdicts.ts";

export async function diffPolicy({ options, output, io, resources }: DiffPolicyCall): Promise<number> {
  const policy = await loadYamlFile(options.policy, policySchema);
  const config = await openConfig(options.fleet);
  const canaries = [...config.canaries.values()];
  requireWindow(policy, new Set(canaries.map(({ policy: { windowMs } }) => windowMs)));
  const fromMs = systemClock.now() - options.since;
  const bus = resources.add(await openBus(io));
  let code: number = EXIT.success;
  for (const { ref, policy: current } of canaries) {
    const key = canaryKey(ref);
    // A run is judged from its start, which may precede the range by up to the policy's maximum length of a run.
    const longestRunMs = Math.max(current.maxPendingMs, current.maxRunMs);
    const records = await readVerdicts(bus, { time: fromMs - longestRunMs }, [verdictSubject(ref)]);
    const otherMs = otherWindow(records, policy);
    if (otherMs !== undefined) {
      io.stderr.write(`${key}: not compared: ${windowText(policy, [otherMs])}\n`);
      code = EXIT.usage;
      continue;
    }
    const runs = rejudge(records, policy).flatMap((run) => since(run, fromMs));
    io.stdout.write(differences(key, runs, output === "json"));
  }
  return code;
}

/** @throws Terminal `usage` if no canary has windows of the policy's length */
function requireWindow(policy: Policy, windows: ReadonlySet<number>): void {
  if (windows.size > 0 && !windows.has(policy.windowMs)) throw terminal("usage", windowText(policy, [...windows]));
}

/** The length of the first recorded window that differs from the policy's; undefined if there is none. */
export function otherWindow(records: readonly VerdictRecord[], { windowMs }: Policy): number | undefined {
  return records
    .flatMap(({ evidence: { closed } }) =>
      closed === null ? [] : Date.parse(closed.window.end) - Date.parse(closed.window.start),
    )
    .find((recordedMs) => recordedMs !== windowMs);
}

const windowText = (policy: Policy, recordedMs: readonly number[]): string =>
  `the policy's window is ${formatDuration(policy.windowMs)} and the recorded windows are ${recordedMs.map(formatDuration).join(", ")}; recorded windows cannot be judged at another length`;

/** The run with its verdicts since `fromMs`; empty if it has none. */
function since(run: RejudgedRun, fromMs: number): RejudgedRun[] {
  const verdicts = run.verdicts.filter(({ record }) => Date.parse(record.body.at) >= fromMs);
  return verdicts.length === 0 ? [] : [{ ...run, verdicts }];
}

/** The runs of one canary as text, or as one line of JSON per run. */
export function differences(canary: string, runs: readonly RejudgedRun[], isJson: boolean): string {
  const lines = runs.flatMap((run) => (isJson ? [JSON.stringify(asJson(canary, run))] : asText(canary, run)));
  if (runs.length === 0 && !isJson) lines.push(`${canary}: no run in this range`);
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
