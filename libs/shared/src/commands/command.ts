/**
 * The declaration of a subcommand of `aviary`, from which parsing, help, completion, exit codes and clean-up follow
 * (`program.ts`).
 *
 * Declarations are loaded on every invocation, so they must stay cheap to import: `run` imports the implementation when it is
 * called.
 */
import type { Opened } from "../runtime/opened.ts";
import type { ArgumentSpec, OptionSpec, ValueOf } from "./options.ts";

/** The exit codes of every command; help lists them. */
export const EXIT = { success: 0, failure: 1, usage: 2, interrupted: 130 } as const;

/** The environment variables that the local fleet of `npm start` provides. */
export interface LocalFleetSettings {
  /** The variables it sets. */
  readonly variables: Readonly<NodeJS.ProcessEnv>;
  /** False for an embedded fleet, whose bus is in the memory of its process. */
  readonly hasBroker: boolean;
}

/** The process around a command, replaceable in tests. */
export interface CommandIo {
  stdout: NodeJS.WritableStream;
  stderr: NodeJS.WritableStream;
  /** Includes the variables of `localFleet`. */
  env: NodeJS.ProcessEnv;
  /** Absent if no local fleet is running, or if the environment selects another fleet. */
  localFleet?: LocalFleetSettings;
  /** Aborts on Ctrl-C. */
  signal: AbortSignal;
}

export type OutputFormat = "table" | "wide" | "json";
export type OptionSpecs = Readonly<Record<string, OptionSpec<unknown>>>;
export type ArgumentSpecs = Readonly<Record<string, ArgumentSpec<unknown>>>;
type ValuesOf<Specs> = { readonly [Name in keyof Specs]: ValueOf<Specs[Name]> };

/** One parsed invocation of a command. */
export interface CommandCall<Options extends OptionSpecs = OptionSpecs, Args extends ArgumentSpecs = ArgumentSpecs> {
  readonly options: ValuesOf<Options>;
  readonly args: ValuesOf<Args>;
  /** The format of `--output`; `table` for a command that offers none. */
  readonly output: OutputFormat;
  readonly io: CommandIo;
  /** Disposed newest first when the command succeeds, fails or is interrupted. */
  readonly resources: Opened;
}

export interface CommandDefinition<Options extends OptionSpecs, Args extends ArgumentSpecs> {
  /** As typed after `aviary`; the words before the last one name groups, as in `run start`. */
  readonly name: string;
  /** One line for lists of commands: imperative, without a full stop. */
  readonly summary: string;
  /** Paragraphs that only the command's own help shows. */
  readonly details?: string;
  /** Positional arguments in their order. */
  readonly args?: Args;
  /** Options by name in camelCase: `skillHash` is `--skill-hash`. */
  readonly options?: Options;
  /** The formats of `--output`, the default first. */
  readonly formats?: readonly OutputFormat[];
  /** Complete command lines. */
  readonly examples?: readonly string[];
  /** Runs until Ctrl-C, which therefore counts as success. */
  readonly runsUntilInterrupted?: boolean;
  /** @returns the exit code */
  run(call: CommandCall<Options, Args>): Promise<number>;
}

/** A command whose option types are erased: the element type of command lists. */
export type Command = Omit<CommandDefinition<OptionSpecs, ArgumentSpecs>, "run"> & {
  // biome-ignore lint/suspicious/noExplicitAny: each definition checks its own call; a list holds commands with different ones
  run(call: any): Promise<number>;
};

/** A word that several commands share as their first, such as `run`. */
export interface CommandGroup {
  readonly name: string;
  readonly summary: string;
}

/** Declares a command; infers the types of its options and arguments for `run`. */
export function defineCommand<const Options extends OptionSpecs, const Args extends ArgumentSpecs>(
  definition: CommandDefinition<Options, Args>,
): Command {
  return definition;
}
