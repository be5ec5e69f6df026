/** Completion candidates for a command line, derived from the command declarations. */
import type { Command, CommandGroup } from "@aviary/shared/commands/command.ts";
import { flagName, type OptionSpec } from "@aviary/shared/commands/options.ts";
import { findCommand, loadChoices } from "@aviary/shared/commands/program.ts";

/** The hidden first word with which a completion script calls `aviary`. */
export const COMPLETE_WORD = "__complete";
/** The line that requests file names. */
export const FILES_LINE = ":files";

interface Suggestion {
  readonly value: string;
  readonly description: string;
}

/** Lines for a completion script. @param words the words after `aviary`; the last one is being typed and may be empty */
export async function suggestionLines(
  commands: readonly Command[],
  groups: readonly CommandGroup[],
  words: readonly string[],
): Promise<string> {
  const { before, prefix, current } = splitWords(words);
  const found = await suggestions(commands, groups, before, current);
  if (found === "files") return `${FILES_LINE}\n`;
  return found
    .filter(({ value }) => value.startsWith(current))
    .map(({ value, description }) => `${prefix}${value}\t${description}\n`)
    .join("");
}

/** Separates the word being typed. `--output=js` counts as two words; bash passes it as three. */
function splitWords(words: readonly string[]): { before: string[]; prefix: string; current: string } {
  const before = words.slice(0, -1).filter((word) => word !== "=");
  const last = words.at(-1) ?? "";
  if (last === "=") return { before, prefix: "", current: "" };
  const assignment = /^(--[a-z-]+)=(.*)$/.exec(last);
  if (assignment === null) return { before, prefix: "", current: last };
  return { before: [...before, assignment[1]!], prefix: `${assignment[1]}=`, current: assignment[2]! };
}

async function suggestions(
  commands: readonly Command[],
  groups: readonly CommandGroup[],
  before: readonly string[],
  current: string,
): Promise<readonly Suggestion[] | "files"> {
  const command = findCommand(commands, before);
  if (command === undefined) return nextWords(commands, groups, before);
  const choices = await loadChoices(command);
  const options = optionsOf(command);
  const previous = options.get(before.at(-1) ?? "");
  if (previous?.spec.placeholder !== undefined) return valuesOf(previous.key, previous.spec, choices);
  if (current.startsWith("-"))
    return [...options].map(([value, { spec }]) => ({ value, description: spec.description })).concat(HELP);
  const position = positionalCount(before.slice(command.name.split(" ").length), options);
  const args = Object.entries(command.args ?? {});
  const last = args.at(-1);
  const [name, argument] = args[position] ?? (last?.[1].presence === "repeated" ? last : []);
  return name === undefined || argument === undefined ? [] : valuesOf(name, argument, choices);
}

const OUTPUT_SPEC: OptionSpec<unknown> = { placeholder: "format", description: "The output format", parse: (text) => text };
const HELP: Suggestion = { value: "--help", description: "Show this help" };

/** The next word of every command that begins with these words, each once. */
function nextWords(commands: readonly Command[], groups: readonly CommandGroup[], before: readonly string[]): Suggestion[] {
  const found = new Map<string, Suggestion>();
  for (const { name, summary } of commands) {
    const path = name.split(" ");
    if (path.length <= before.length || !before.every((word, index) => path[index] === word)) continue;
    const value = path[before.length]!;
    const isWhole = path.length === before.length + 1;
    const description = isWhole ? summary : (groups.find((group) => group.name === value)?.summary ?? "");
    if (!found.has(value)) found.set(value, { value, description });
  }
  return [...found.values()];
}

type Options = ReadonlyMap<string, { readonly key: string; readonly spec: OptionSpec<unknown> }>;

function optionsOf(command: Command): Options {
  const output = { key: "output", spec: OUTPUT_SPEC };
  return new Map([
    ...Object.entries(command.options ?? {}).map(([key, spec]) => [flagName(key), { key, spec }] as const),
    ...(command.formats === undefined ? [] : (["--output", "-o"] as const).map((name) => [name, output] as const)),
  ]);
}

function positionalCount(words: readonly string[], options: Options): number {
  let count = 0;
  for (let index = 0; index < words.length; index++) {
    const word = words[index]!;
    if (options.get(word)?.spec.placeholder !== undefined) index += 1;
    else if (!word.startsWith("-")) count += 1;
  }
  return count;
}

function valuesOf(
  name: string,
  { completesFiles }: { readonly completesFiles?: boolean },
  choices: ReadonlyMap<string, readonly string[]>,
): readonly Suggestion[] | "files" {
  if (completesFiles === true) return "files";
  return (choices.get(name) ?? []).map((value) => ({ value, description: "" }));
}
