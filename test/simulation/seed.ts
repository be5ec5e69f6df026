/** One seed from its plan to the findings, and how a finding is reported. */
import type { Case, PublishedVerdict, Violation } from "./checks/check.ts";
import { CHECKS } from "./checks/list.ts";
import { START_MS } from "./kernel.ts";
import { planOf } from "./plan.ts";
import type { Product } from "./product.ts";
import { replayAll } from "./replay-result.ts";
import { type Finished, simulate } from "./world.ts";

export interface SeedResult {
  readonly seed: number;
  readonly findings: readonly Violation[];
  /** Event counts of the world. */
  readonly counts: ReadonlyMap<string, number>;
  readonly trace: readonly string[] | undefined;
}

/** A seed with a violation. */
export interface Failure {
  readonly seed: number;
  readonly findings: readonly Violation[];
}

/** Lines of the history shown before a finding. */
const SHOWN = 40;

export async function runSeed(product: Product, seed: number, traced = false): Promise<SeedResult> {
  const finished = await simulate(product, planOf(seed), traced);
  const verdicts = publishedVerdicts(finished);
  const checked: Case = { product, finished, replayed: replayAll(product, finished), verdicts };
  const findings = CHECKS.flatMap((check) => check(checked) ?? []);
  const counts = new Map(finished.history.counts);
  for (const { body } of verdicts) counts.set(`verdict ${body.verdict}`, (counts.get(`verdict ${body.verdict}`) ?? 0) + 1);
  counts.set("events", finished.events);
  return { seed, findings, counts, trace: finished.history.trace };
}

function publishedVerdicts({ history }: Finished): PublishedVerdict[] {
  return history.stored
    .filter(({ stream }) => stream === "VERDICTS")
    .map(({ data, atMs, node }) => {
      const { body } = JSON.parse(data) as Pick<PublishedVerdict, "body">;
      return { atMs: Date.parse(body.at) - START_MS, storedAtMs: atMs, node, text: data, body };
    });
}

/** Seed, sentence, last events, and the command to reproduce it. Runs the seed once more to record its history. */
export async function explainFailure(product: Product, { seed, findings: before }: Failure): Promise<string> {
  const { findings, trace } = await runSeed(product, seed, true);
  const first = findings[0];
  if (first === undefined)
    return `seed ${seed} broke invariant ${before[0]?.invariant} (${before[0]?.what}), but not when it ran again: the violation depends on something outside the simulation`;
  const lines = (trace ?? []).filter((line) => Number.parseFloat(line) * 1000 <= first.atMs);
  return [
    `seed ${seed} violates invariant ${first.invariant}: ${first.what}`,
    ...findings.slice(1).map(({ invariant, what }) => `  also ${invariant}: ${what}`),
    "  the last events before it:",
    ...lines.slice(-SHOWN).map((line) => `    ${line}`),
    `  reproduce: npm run sim -- --seeds 1 --from ${seed}`,
  ].join("\n");
}
