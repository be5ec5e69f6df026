/**
 * The judge with one of its keys taken out: does any target notice? The source of `keys.ts` is changed while it is loaded, in a worker
 * of its own; the files stay as they are.
 */
import { registerHooks } from "node:module";

export const MUTATIONS = ["rate key", "significance key", "persistence key", "environment key", "rho", "phi"] as const;
export type Mutation = (typeof MUTATIONS)[number];

/** What a function of `keys.ts` does first in place of what it should. */
const CHANGES: Readonly<Record<Mutation, Readonly<Record<string, string>>>> = {
  "rate key": { rateKey: "return range.requests > 0;" },
  "significance key": { significanceKey: "return range.bad >= LEAST_BAD;" },
  "persistence key": { persistenceKey: "return true;" },
  "environment key": { environmentKey: "return true;" },
  rho: { pValueOf: "noise = { ...noise, rho: 0 };", persistenceKey: "noise = { ...noise, rho: 0 };" },
  phi: { burstFactor: "return 1;" },
};

/** From now on `keys.ts` is loaded in this thread without what the mutation takes out. */
export function mutateKeys(mutation: Mutation): void {
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      if (!url.endsWith("/core/judge/keys.ts")) return loaded;
      return { ...loaded, source: mutated(String(loaded.source), mutation) };
    },
  });
}

/** @throws Error when the source has no such function: the mutation would change nothing, and prove nothing. */
export function mutated(source: string, mutation: Mutation): string {
  let text = source;
  for (const [name, statement] of Object.entries(CHANGES[mutation])) {
    const head = new RegExp(`export function ${name}\\([\\s\\S]*?\\): \\w+ \\{\\n`);
    if (!head.test(text)) throw new Error(`keys.ts has no function ${name}; say in mutations.ts where the ${mutation} is now`);
    text = text.replace(head, (found) => `${found}  ${statement}\n`);
  }
  return text;
}
