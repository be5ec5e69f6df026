/** Writes the generated section of docs/judge.md and its charts. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Figure, ResultOf } from "./figures.ts";
import { FIGURES } from "./figures.ts";
import { TABLE_RUNS, TABLES, writeTable } from "./tables.ts";

const DOCS = fileURLToPath(new URL("../../docs", import.meta.url));
const BEGIN = "<!-- judge:report: written by `npm run judge:report` -->";
const END = "<!-- /judge:report -->";

const JUDGED = [
  "- **two-key**: the default rule. Its reference is 48 windows of stable with nine times the canary's traffic, unless stated otherwise.",
  "- **literal**: the threshold rule, two consecutive windows over the ceiling.",
  "- **2nd failed window**: a threshold per window, and the second failed check ends the run, consecutive or not: Flagger with `threshold: 2`.",
  "- **4th failed window**: the same with three tolerated failures: an Argo Rollouts metric with `failureLimit: 3`.",
  "- **Mann-Whitney**: one-minute error rates of canary and stable since the run's start, compared as in Kayenta (98% confidence, a quarter of the estimated shift tolerated), after every window.",
];

/** @param targets the table of targets, as Markdown */
export async function writeDocument(targets: string, resultOf: ResultOf, report: (what: string) => void): Promise<void> {
  mkdirSync(join(DOCS, "judge"), { recursive: true });
  const pictures = new Map<Figure, string>();
  for (const figure of FIGURES) {
    report(`chart ${figure.file}`);
    writeFileSync(join(DOCS, "judge", figure.file), await figure.draw(resultOf));
    pictures.set(figure, `![${figure.title}](judge/${figure.file})`);
  }
  const tables: string[] = [];
  for (const table of TABLES) {
    report(`table "${table.title}"`);
    tables.push(await writeTable(table, resultOf));
  }
  const section = [
    "## Measured",
    "",
    "Simulated by `npm run judge:report` (`tools/judge-report/main.ts`), which writes this section and its charts; seeds are fixed, so the output is reproducible.",
    `A run is an hour of twelve windows of five minutes unless stated otherwise, and each figure is from ${TABLE_RUNS.toLocaleString("en-US")} runs: the standard error of 0.5% is 0.11 points, that of 50% 0.8. The rule is the judge's own code, applied to counts.`,
    "",
    ...JUDGED,
    "",
    [...pictures.values()].join("\n\n"),
    "",
    tables.join("\n\n"),
    "",
    targets,
  ].join("\n");
  const path = join(DOCS, "judge.md");
  const text = readFileSync(path, "utf8");
  const [from, to] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (from < 0 || to < from) throw new Error(`docs/judge.md has no section for the report: add the lines ${BEGIN} and ${END}`);
  writeFileSync(path, `${text.slice(0, from + BEGIN.length)}\n${section}\n${text.slice(to)}`);
}
