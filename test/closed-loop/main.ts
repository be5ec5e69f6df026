/**
 * `npm run closed-loop -- --worlds 2000 --from 0` runs worlds, prints the damage of Aviary beside other rules, and lists the
 * worlds that violate a law. For a single world it prints the story.
 */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { runCommand, wholeNumber } from "../simulation/command-line.ts";
import { ADVISORS, type AdvisorName } from "./advisors/advisor.ts";
import { runWorlds } from "./pool.ts";
import { damageTable, failingWorlds, lawTable, storyOf } from "./report.ts";
import { THEMES, type Theme } from "./world/themes.ts";

const USAGE =
  "npm run closed-loop -- [--worlds <number, 500>] [--from <first seed, 0>] [--threads <number, one per core>] [--advisors <names, all>] [--theme <any, incident, late or low>]";
const MOST_STORIES = 2;

function advisorNames(text: string | undefined): AdvisorName[] {
  const names = text?.split(",") ?? ADVISORS;
  for (const name of names) {
    if (!(ADVISORS as readonly string[]).includes(name))
      throw new RangeError(`--advisors ${name}: expected some of ${ADVISORS.join(",")}\n${USAGE}`);
  }
  return names as AdvisorName[];
}

function themeName(text = "any"): Theme {
  if (!THEMES.includes(text as Theme)) throw new RangeError(`--theme ${text}: expected one of ${THEMES.join(", ")}\n${USAGE}`);
  return text as Theme;
}

async function main(): Promise<number> {
  const option = { type: "string" } as const;
  const options = { worlds: option, from: option, threads: option, advisors: option, theme: option };
  const { values } = parseArgs({ options });
  const worlds = wholeNumber("worlds", values.worlds, 500, USAGE);
  const from = wholeNumber("from", values.from, 0, USAGE);
  const threads = Math.max(1, wholeNumber("threads", values.threads, availableParallelism(), USAGE));
  const advisors = advisorNames(values.advisors);
  const theme = themeName(values.theme);
  if (worlds === 1) {
    const story = await storyOf(from, advisors[0], theme);
    console.log(story);
    return story.endsWith("No violation.") ? 0 : 1;
  }
  const startedAt = performance.now();
  const results = await runWorlds({ from, worlds, threads, advisors, theme });
  const tookS = (performance.now() - startedAt) / 1_000;
  console.log(`${worlds} worlds with ${advisors.length} advisors in ${tookS.toFixed(0)} s, ${threads} threads.\n`);
  console.log(`${damageTable(results)}\n`);
  for (const line of lawTable(results)) console.log(line);
  const failing = failingWorlds(results);
  for (const { seed } of failing.slice(0, MOST_STORIES)) console.log(`\n${await storyOf(seed, "aviary", theme)}`);
  console.log(failing.length === 0 ? "No law is violated." : `${failing.length} of ${worlds} worlds violate a law.`);
  return failing.length === 0 ? 0 : 1;
}

await runCommand(main);
