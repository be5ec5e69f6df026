/**
 * A command line made of declared commands: finds the command, parses its words, prints help and errors, runs it and cleans up.
 *
 * Everything that a command prints goes through `CommandIo`; nothing here ends the process.
 */
import { Argument, Command as Commander, CommanderError, Option } from "commander";
import { faultCode, terminal } from "../runtime/faults.ts";
import { openAll } from "../runtime/opened.ts";
import { type Command, type CommandGroup, type CommandIo, EXIT, type OutputFormat } from "./command.ts";
import { type ArgumentSpec, flagName, type OptionSpec } from "./options.ts";

export interface Section {
  /** Above these commands in help. */
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

/** The choices of one command's options and arguments, by name, loaded. */
type LoadedChoices = ReadonlyMap<string, readonly string[]>;

interface Invocation {
  readonly command: Command;
  readonly words: readonly (string | readonly string[] | undefined)[];
  readonly flags: Readonly<Record<string, unknown>>;
}

const EXIT_CODES = "Exit codes: 0 success, 1 failure, 2 usage error, 130 interrupted";

/** Runs the words after `aviary`. @returns the exit code; never rejects for an error of the command */
export async function runProgram(program: Program, words: readonly string[], io: CommandIo): Promise<number> {
  const commands = program.sections.flatMap((section) => section.commands);
  const selected = findCommand(commands, words);
  const choices: LoadedChoices = selected === undefined ? new Map() : await loadChoices(selected);
  const invocations: Invocation[] = [];
  const root = rootOf(program, io);
  root.addHelpText("after", `${program.notes}\n${EXIT_CODES}`);
  for (const { heading, commands: listed } of program.sections) {
    root.commandsGroup(heading);
    for (const command of listed) {
      const leaf = addCommand(root, command, program.groups, command === selected ? choices : new Map());
      leaf.action(() => void invocations.push({ command, words: leaf.processedArgs, flags: leaf.opts() }));
    }
  }
  root.helpCommand("help [command]", "Show the help of a command");
  if (words.length === 0) {
    root.outputHelp();
    return EXIT.usage;
  }
  try {
    root.parse([...words], { from: "user" });
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

/** The known values of every option and argument of a command. */
export async function loadChoices({ options = {}, args = {}, formats = [] }: Command): Promise<LoadedChoices> {
  const loaded = new Map<string, readonly string[]>();
  if (formats.length > 0) loaded.set("output", formats);
  for (const [name, { choices }] of Object.entries({ ...options, ...args })) {
    if (choices !== undefined) loaded.set(name, typeof choices === "function" ? await choices() : choices);
  }
  return loaded;
}

function rootOf({ summary, version }: Program, io: CommandIo): Commander {
  const width = (stream: NodeJS.WritableStream): number => (stream as Partial<NodeJS.WriteStream>).columns ?? 80;
  const hasColours = (stream: NodeJS.WritableStream): boolean =>
    (stream as Partial<NodeJS.WriteStream>).isTTY === true && (io.env.NO_COLOR ?? "") === "";
  const root = new Commander("aviary")
    .description(summary)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      getOutHelpWidth: () => width(io.stdout),
      getErrHelpWidth: () => width(io.stderr),
      getOutHasColors: () => hasColours(io.stdout),
      getErrHasColors: () => hasColours(io.stderr),
      outputError: (text, write) => write(oneLine(text)),
    })
    .configureHelp({
      minWidthToWrap: 20,
      styleTitle: (title) => `\x1b[1m${title}\x1b[22m`,
      subcommandTerm: (command) => [command.name(), ...command.registeredArguments.map(argumentTerm)].join(" "),
      // `described` has added choices and defaults already.
      argumentDescription: ({ description }) => description,
      optionDescription: ({ description }) => description,
    })
    .helpOption("-h, --help", "Show this help")
    .showHelpAfterError("Run `aviary --help` for usage.");
  return version === "" ? root : root.version(version, "-V, --version", "Show the version");
}

function argumentTerm(argument: Argument): string {
  const name = `${argument.name()}${argument.variadic ? "..." : ""}`;
  return argument.required ? `<${name}>` : `[${name}]`;
}

/** `error: unknown command 'stauts'\n(Did you mean status?)` as one line: `unknown command "stauts"; did you mean "status"?` */
function oneLine(text: string): string {
  return text
    .replace(/^error: /, "")
    .replaceAll("'", '"')
    .replace(/\.?\n\(Did you mean (?:one of )?(.*)\?\)/, (_, names: string) => {
      const quoted = names.split(", ").map((name) => JSON.stringify(name));
      return `; did you mean ${quoted.join(" or ")}?`;
    });
}

function addCommand(root: Commander, command: Command, groups: readonly CommandGroup[], choices: LoadedChoices): Commander {
  const path = command.name.split(" ");
  const parent = path.slice(0, -1).reduce((above, word) => {
    const existing = above.commands.find((candidate) => candidate.name() === word);
    return existing ?? addGroup(above, word, groups);
  }, root);
  const leaf = parent
    .command(path.at(-1)!)
    .summary(command.summary)
    .description([`${command.summary}.`, ...(command.details === undefined ? [] : [command.details])].join("\n\n"))
    .addHelpText("after", helpEnd(command.examples ?? []))
    .showHelpAfterError(usageHint(command.name));
  for (const [name, spec] of Object.entries(command.args ?? {})) leaf.addArgument(argumentOf(name, spec, choices.get(name)));
  for (const [key, spec] of Object.entries(command.options ?? {})) leaf.addOption(optionOf(key, spec, choices.get(key)));
  for (const option of outputOptions(command.formats ?? [])) leaf.addOption(option);
  return leaf;
}

const usageHint = (name: string): string => `Run \`aviary ${name} --help\` for usage.`;

function argumentOf(name: string, spec: ArgumentSpec<unknown>, choices: readonly string[] | undefined): Argument {
  const shape = { required: `<${name}>`, optional: `[${name}]`, repeated: `[${name}...]` }[spec.presence];
  const argument = new Argument(shape, described(spec.description, [choiceNote(choices), exampleNote(spec.example)]));
  return choices === undefined ? argument : argument.choices(choices);
}

function outputOptions(formats: readonly OutputFormat[]): Option[] {
  if (formats.length === 0) return [];
  const description = described("The output format", [choiceNote(formats), `default: ${formats[0]}`]);
  const output = new Option("-o, --output <format>", description).choices(formats);
  // `--json` is the spelling from before `--output`; scripts use it.
  return formats.includes("json") ? [output, new Option("--json").implies({ output: "json" }).hideHelp()] : [output];
}

function addGroup(above: Commander, word: string, groups: readonly CommandGroup[]): Commander {
  const summary = groups.find(({ name }) => name === word)?.summary ?? "";
  return above
    .command(word)
    .summary(summary)
    .description(`${summary}.`)
    .helpCommand(false)
    .usage("<command> [options]")
    .showHelpAfterError(usageHint(word))
    .addHelpText("after", helpEnd([]));
}

function optionOf(key: string, spec: OptionSpec<unknown>, choices: readonly string[] | undefined): Option {
  const { placeholder, description, example, unit, variable, default: initial, required } = spec;
  const flags = `${flagName(key)}${placeholder === undefined ? "" : ` <${placeholder}>`}`;
  const notes = [
    required && "required",
    choiceNote(choices),
    unit && `unit: ${unit}`,
    exampleNote(example),
    variable && `environment: ${variable}`,
    initial !== undefined && `default: ${initial}`,
  ];
  const option = new Option(flags, described(description, notes));
  if (choices !== undefined) option.choices(choices);
  return option.makeOptionMandatory(required === true);
}

const choiceNote = (choices: readonly string[] | undefined) => choices && `one of ${choices.join(", ")}`;
const exampleNote = (example: string | undefined) => example && `for example ${example}`;

function described(description: string, notes: readonly (string | false | undefined)[]): string {
  const given = notes.filter((note) => typeof note === "string" && note !== "");
  return given.length === 0 ? description : `${description} (${given.join("; ")})`;
}

function helpEnd(examples: readonly string[]): string {
  const lines = examples.map((example) => `  ${example}`);
  return ["", ...(lines.length === 0 ? [] : ["Examples:", ...lines, ""]), EXIT_CODES].join("\n");
}

/** Runs an invocation; an error becomes one report on stderr and an exit code. */
async function execute(invocation: Invocation, io: CommandIo): Promise<number> {
  const { command } = invocation;
  try {
    const values = await valuesOf(invocation, io);
    let code: number = EXIT.failure;
    const opened = await openAll(async (resources) => {
      code = await untilAborted(command.run({ ...values, io, resources }), io.signal);
    });
    await opened[Symbol.asyncDispose]();
    return code;
  } catch (error) {
    if (io.signal.aborted) return command.runsUntilInterrupted === true ? EXIT.success : EXIT.interrupted;
    const isUsage = faultCode(error) === "usage";
    io.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    if (isUsage) io.stderr.write(`${usageHint(command.name)}\n`);
    return isUsage ? EXIT.usage : EXIT.failure;
  }
}

/** The result, or a rejection as soon as the user interrupts: closing what the command has open ends what it waits for. */
async function untilAborted(work: Promise<number>, signal: AbortSignal): Promise<number> {
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

async function valuesOf({ command, words, flags }: Invocation, io: CommandIo) {
  const options: Record<string, unknown> = {};
  for (const [key, spec] of Object.entries(command.options ?? {})) {
    const given = flags[key] ?? (spec.variable === undefined ? undefined : io.env[spec.variable]) ?? spec.default;
    if (spec.required && String(given).trim() === "") throw terminal("usage", `${flagName(key)} is empty: ${spec.description}`);
    options[key] = spec.placeholder === undefined ? given === true : await parsed(flagName(key), given, spec);
  }
  const args: Record<string, unknown> = {};
  for (const [index, [name, spec]] of Object.entries(command.args ?? {}).entries()) {
    const given = words[index];
    args[name] = Array.isArray(given)
      ? await Promise.all(given.map((text) => parsed(name, text, spec)))
      : await parsed(name, given, spec);
  }
  return { options, args, output: (flags.output as OutputFormat | undefined) ?? command.formats?.[0] ?? "table" };
}

/** @throws Terminal `usage` that names the option and its value */
async function parsed(name: string, given: unknown, spec: { parse(text: string): unknown }): Promise<unknown> {
  if (given === undefined) return undefined;
  try {
    return await spec.parse(String(given));
  } catch (error) {
    throw terminal("usage", `${name} ${String(given)}: ${(error as Error).message}`, error);
  }
}
