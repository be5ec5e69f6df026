/** Parses the symptoms of `docs/runbook.md` for the on-call engineer. */
import { readFileSync } from "node:fs";

export interface Entry {
  /** The first column, with its code marks. */
  readonly symptom: string;
  readonly action: string;
}

const RUNBOOK = new URL("../../../docs/runbook.md", import.meta.url);

/** Parses the table below "## Symptoms". */
export function readRunbook(text: string = readFileSync(RUNBOOK, "utf8")): Entry[] {
  const section = /\n## Symptoms\n([\s\S]*?)(?=\n## |$)/.exec(text)?.[1];
  if (section === undefined) throw new Error('the runbook has no section "Symptoms"');
  return section
    .split("\n")
    .filter((line) => line.startsWith("| ") && !line.startsWith("| Symptom"))
    .map((line) => {
      const cells = line.split(" | ").map((cell) => cell.replace(/^\| |\s*\|$/g, ""));
      return { symptom: cells[0] ?? "", action: cells.at(-1) ?? "" };
    });
}

/** The symptom that the engineer observes. */
export interface Sight {
  readonly verdict: string;
  readonly state: string;
  readonly codes: readonly string[];
}

/** The entries that match the observed symptom: a reason code, or the state of the run. */
export function entriesFor(entries: readonly Entry[], { verdict, state, codes }: Sight): Entry[] {
  const names = new Set([...codes, ...(verdict === "fail" ? [state] : [])]);
  if (codes.includes("hold_expired")) names.add("hold");
  return entries.filter(({ symptom }) => {
    const marked = [...symptom.matchAll(/`([a-z0-9_]+)`/g)].map(([, code]) => code!);
    const specific = marked.filter((code) => code !== "hold" && code !== "fail");
    if (specific.length === 0) return marked.includes("hold") && names.has("hold");
    return specific.some((code) => names.has(code));
  });
}
