/**
 * Mutants of the judge: each disables one part, and a target must detect it. The source of `keys.ts` is changed while it is loaded in
 * a separate worker; the files are unchanged.
 */
import { registerHooks } from "node:module";

export const MUTATIONS = [
  "rate key",
  "significance key",
  "persistence key",
  "environment key",
  "overdispersion",
  "burst factor",
] as const;
export type Mutation = (typeof MUTATIONS)[number];

/** The statement inserted at the start of each function of `keys.ts`. */
const CHANGES: Readonly<Record<Mutation, Readonly<Record<string, string>>>> = {
  "rate key": { rateKey: "return range.requests > 0;" },
  "significance key": { significanceKey: "return range.bad >= MIN_BAD;" },
  "persistence key": { persistenceKey: "return true;" },
  "environment key": { environmentKey: "return true;" },
  overdispersion: {
    pValueOf: "noise = { ...noise, overdispersion: 0 };",
  },
  "burst factor": { burstFactor: "return 1;" },
};

/** Loads `keys.ts` in this thread with the mutation from now on. */
export function mutateKeys(mutation: Mutation): void {
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      if (!url.endsWith("/core/judge/keys.ts")) return loaded;
      return { ...loaded, source: mutated(String(loaded.source), mutation) };
    },
  });
}

/** @throws Error if the source has no such function: the mutation would change nothing */
export function mutated(source: string, mutation: Mutation): string {
  let text = source;
  for (const [name, statement] of Object.entries(CHANGES[mutation])) {
    const head = new RegExp(`export function ${name}\\([\\s\\S]*?\\): \\w+ \\{\\n`);
    if (!head.test(text)) throw new Error(`keys.ts has no function ${name}; update the ${mutation} in mutations.ts`);
    text = text.replace(head, (found) => `${found}  ${statement}\n`);
  }
  return text;
}
