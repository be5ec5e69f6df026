/** A thread that runs worlds: each seed with each advisor. */
import { parentPort, workerData } from "node:worker_threads";
import { loadProduct, type Service } from "../simulation/product.ts";
import { READY } from "../simulation/threads.ts";
import type { AdvisorName } from "./advisors/advisor.ts";
import { type Damage, damageOf } from "./judge/damage.ts";
import { type Violation, violationsOf } from "./judge/laws.ts";
import { runWorld } from "./run-world.ts";
import { type Theme, themedPlanOf } from "./world/themes.ts";

export interface ThreadData {
  /** Modified copies of services to run instead of the services themselves. */
  readonly copies: Partial<Record<Service, string>>;
  readonly advisors: readonly AdvisorName[];
  readonly theme: Theme;
}

/** The result of one world with one advisor. */
export interface WorldResult {
  readonly seed: number;
  readonly advisor: AdvisorName;
  readonly damage: Damage;
  readonly violations: readonly Violation[];
  /** The controller, release and fault kinds that occurred in it. */
  readonly contents: readonly string[];
}

if (parentPort !== null) {
  const port = parentPort;
  const { copies, advisors, theme } = workerData as ThreadData;
  const product = await loadProduct(copies);
  port.on("message", async (seed: number) => {
    const results: WorldResult[] = [];
    const plan = themedPlanOf(seed, theme);
    const contents = [
      `controller ${plan.controller}`,
      ...plan.releases.map(({ fault }) => `release ${fault}`),
      ...plan.faults.map(({ kind }) => `fault ${kind}`),
    ];
    for (const advisor of advisors) {
      const finished = await runWorld(product, plan, advisor);
      results.push({ seed, advisor, damage: damageOf(finished), violations: violationsOf(finished), contents });
    }
    port.postMessage(results);
  });
  port.postMessage(READY);
}
