/**
 * A command line made of declared commands. Everything that it prints goes through `CommandIo`; nothing here ends the process.
 */
import { CommanderError } from "commander";
import { type Command, type CommandGroup, type CommandIo, EXIT } from "./command.ts";
import { execute, type Invocation } from "./execute.ts";
import { addCommand, createRoot, EXIT_CODES, type LoadedChoices } from "./parser.ts";

export interface Section {
  /** The heading above these commands in help. */
  readonly heading: string;
  readonly commands: readonly Command[];
}

export interface Program {
  readonly summary: string;
  readonly version: string;
  readonly groups: readonly CommandGroup[];
  readonly sections: readonly Section[];
  /** Below the list of commands in help; lines of at most 80 characters. */
  readonly notes: string;
}

/** Runs the words after `aviary`. @returns the exit code; never rejects for an error of the command */
export async function runProgram(program: Program, words: readonly string[], io: CommandIo): Promise<number> {
  if (words[0] === "help" && words.length > 1) return await runProgram(program, [...words.slice(1), "--help"], io);
  const commands = program.sections.flatMap((section) => section.commands);
  const selected = findCommand(commands, words);
  const choices: LoadedChoices = selected === undefined ? new Map() : await loadChoices(selected);
  const invocations: Invocation[] = [];
  const root = createRoot(program, io);
  root.addHelpText("after", `${program.notes}\n${EXIT_CODES}`);
  for (const { heading, commands: listed } of program.sections) {
    root.commandsGroup(heading);
    for (const command of listed) {
      const leaf = addCommand(root, command, program.groups, command === selected ? choices : new Map());
      leaf.action(() => void invocations.push({ command, choices, words: leaf.processedArgs, flags: leaf.opts() }));
    }
  }
  root.helpCommand("help [command...]", "Show the help of a command");
  if (words.length === 0) {
    root.outputHelp();
    return EXIT.usage;
  }
  const unknown = unknownWord(commands, words);
  try {
    // With `--help` after an unknown word, commander would print the help of the words before it.
    root.parse(unknown === undefined ? [...words] : words.slice(0, unknown + 1), { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? EXIT.success : EXIT.usage;
  }
  const [invocation] = invocations;
  return invocation === undefined ? EXIT.success : await execute(invocation, io);
}

/** Runs one command with the words after its name. */
export async function runCommand(command: Command, words: readonly string[], io: CommandIo): Promise<number> {
  const program = { summary: "", version: "", groups: [], notes: "", sections: [{ heading: "Commands:", commands: [command] }] };
  return await runProgram(program, [...command.name.split(" "), ...words], io);
}

/** The command whose whole name begins these words. */
export function findCommand(commands: readonly Command[], words: readonly string[]): Command | undefined {
  return commands.find(({ name }) => name.split(" ").every((part, index) => words[index] === part));
}

/** The index of the first word that belongs to no command; undefined if the words select a command or begin the name of one. */
function unknownWord(commands: readonly Command[], words: readonly string[]): number | undefined {
  let names = commands.map(({ name }) => name.split(" "));
  for (const [index, word] of words.entries()) {
    if (word.startsWith("-") || (index === 0 && word === "help")) return undefined;
    names = names.filter((name) => name[index] === word);
    if (names.length === 0) return index;
    if (names.some((name) => name.length === index + 1)) return undefined;
  }
  return undefined;
}

/** The known values of every option and argument of a command. */
export async function loadChoices({ options = {}, args = {}, formats = [] }: Command): Promise<LoadedChoices> {
  const loaded = new Map<string, readonly string[]>();
  if (formats.length > 0) loaded.set("output", formats);
  for (const [name, { choices }] of Object.entries({ ...options, ...args })) {
    if (choices !== undefined) loaded.set(name, typeof choices === "function" ? await choices() : choices);
  }
  return loaded;
}
