/** Commander programs from declarations: the accepted words, help and errors. Values are checked in `execute.ts`. */
import { Argument, Command as Commander, Option } from "commander";
import type { Command, CommandGroup, CommandIo, OutputFormat } from "./command.ts";
import { type ArgumentSpec, flagName, type OptionSpec } from "./options.ts";

/** The choices of one command's options and arguments, by name, loaded. */
export type LoadedChoices = ReadonlyMap<string, readonly string[]>;

export const EXIT_CODES = "Exit codes: 0 success, 1 failure, 2 usage error, 130 interrupted";

export const usageHint = (name: string): string => `Run \`aviary ${name} --help\` for usage.`;

interface Root {
  readonly summary: string;
  /** Without one there is no `--version`. */
  readonly version: string;
}

/** A program without commands. It throws CommanderError after it has printed help or an error. */
export function createRoot({ summary, version }: Root, io: CommandIo): Commander {
  const width = (stream: NodeJS.WritableStream): number => (stream as Partial<NodeJS.WriteStream>).columns ?? 80;
  const hasColors = (stream: NodeJS.WritableStream): boolean =>
    (stream as Partial<NodeJS.WriteStream>).isTTY === true && (io.env.NO_COLOR ?? "") === "";
  const root = new Commander("aviary")
    .description(summary)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      getOutHelpWidth: () => width(io.stdout),
      getErrHelpWidth: () => width(io.stderr),
      getOutHasColors: () => hasColors(io.stdout),
      getErrHasColors: () => hasColors(io.stderr),
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

/** Adds a command below its groups, which are created as needed. */
export function addCommand(
  root: Commander,
  command: Command,
  groups: readonly CommandGroup[],
  choices: LoadedChoices,
): Commander {
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

function argumentOf(name: string, spec: ArgumentSpec<unknown>, choices: readonly string[] | undefined): Argument {
  const shape = { required: `<${name}>`, optional: `[${name}]`, repeated: `[${name}...]` }[spec.presence];
  return new Argument(shape, described(spec.description, [choiceNote(choices), exampleNote(spec.example)]));
}

function outputOptions(formats: readonly OutputFormat[]): Option[] {
  if (formats.length === 0) return [];
  const description = described("The output format", [choiceNote(formats), `default: ${formats[0]}`]);
  const output = new Option("-o, --output <format>", description);
  // `--json` predates `--output`; scripts still use it.
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
  return new Option(flags, described(description, notes)).makeOptionMandatory(required === true);
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
