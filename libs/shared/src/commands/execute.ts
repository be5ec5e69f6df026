/** Runs a parsed command: values, clean-up, interruption and exit code. */
import { faultCode, terminal } from "../runtime/faults.ts";
import { openAll } from "../runtime/opened.ts";
import { type Command, type CommandIo, EXIT, type OutputFormat } from "./command.ts";
import { flagName } from "./options.ts";
import { type LoadedChoices, usageHint } from "./parser.ts";

export interface Invocation {
  readonly command: Command;
  /** Positional arguments in their order. */
  readonly words: readonly (string | readonly string[] | undefined)[];
  readonly flags: Readonly<Record<string, unknown>>;
  /** The known values of options and arguments that have them. */
  readonly choices: LoadedChoices;
}

/** Runs an invocation; an error becomes one report on stderr and an exit code. */
export async function execute(invocation: Invocation, io: CommandIo): Promise<number> {
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

async function valuesOf({ command, choices, words, flags }: Invocation, io: CommandIo) {
  const options: Record<string, unknown> = {};
  for (const [key, spec] of Object.entries(command.options ?? {})) {
    const given = flags[key] ?? variableOf(spec.variable, io) ?? spec.default;
    if (spec.required && String(given).trim() === "") throw terminal("usage", `${flagName(key)} is empty: ${spec.description}`);
    options[key] = spec.placeholder === undefined ? given === true : await parsed(flagName(key), given, spec, choices.get(key));
  }
  const args: Record<string, unknown> = {};
  for (const [index, [name, spec]] of Object.entries(command.args ?? {}).entries()) {
    const given = words[index];
    args[name] = Array.isArray(given)
      ? await Promise.all(given.map((text) => parsed(name, text, spec, choices.get(name))))
      : await parsed(name, given, spec, choices.get(name));
  }
  const format = flags.output ?? command.formats?.[0] ?? "table";
  const output = await parsed("--output", format, { parse: (text) => text }, choices.get("output"));
  return { options, args, output: output as OutputFormat };
}

/** The value of an environment variable; an empty one counts as absent, as it does for the services. */
function variableOf(name: string | undefined, { env }: CommandIo): string | undefined {
  return name === undefined || env[name] === "" ? undefined : env[name];
}

/** @throws Terminal `usage` that names the option and its value */
async function parsed(
  name: string,
  given: unknown,
  spec: { parse(text: string): unknown },
  choices: readonly string[] | undefined,
): Promise<unknown> {
  if (given === undefined) return undefined;
  const text = String(given);
  if (choices !== undefined && !choices.includes(text))
    throw terminal("usage", `${name} ${text}: expected one of ${choices.join(", ")}`);
  try {
    return await spec.parse(text);
  } catch (error) {
    throw terminal("usage", `${name} ${shortened(text)}: ${(error as Error).message}`, error);
  }
}

const MAX_SHOWN_CHARS = 60;
const shortened = (text: string): string => (text.length > MAX_SHOWN_CHARS ? `${text.slice(0, MAX_SHOWN_CHARS)}…` : text);
