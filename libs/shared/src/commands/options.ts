/** Options and arguments of commands: the values they accept, and their help and completion. */

/** Known values, or a function if the list belongs to a module that is costly to load. */
export type Choices = readonly string[] | (() => Promise<readonly string[]>);

interface Settings {
  /** Its purpose: imperative or a noun phrase, without a full stop. */
  readonly description: string;
  /** One valid value. */
  readonly example?: string;
  /** The units that a value can have. */
  readonly unit?: string;
}

export interface OptionSettings extends Settings {
  readonly default?: string;
  readonly required?: true;
  /** The environment variable that is read if the option is absent. */
  readonly variable?: string;
}

export interface OptionSpec<Value> extends OptionSettings {
  /** The type as help shows it, as in `<duration>`; absent for a flag, which has no value. */
  readonly placeholder?: string;
  readonly choices?: Choices;
  readonly completesFiles?: boolean;
  /** @throws Error with what is expected */
  parse(text: string): Value | Promise<Value>;
}

export interface ArgumentSpec<Value> extends Settings {
  readonly choices?: Choices;
  readonly completesFiles?: boolean;
  readonly presence: "required" | "optional" | "repeated";
  parse(text: string): Value | Promise<Value>;
}

/** The type that `run` receives for an option or an argument. */
export type ValueOf<Spec> = Spec extends { presence: "repeated"; parse(text: string): infer Value }
  ? readonly Awaited<Value>[]
  : Spec extends { presence: "optional"; parse(text: string): infer Value }
    ? Awaited<Value> | undefined
    : Spec extends { parse(text: string): infer Value }
      ? Awaited<Value>
      : never;

type Presence<Value, S> = S extends { required: true } | { default: string } ? Value : Value | undefined;

const unchanged = (text: string): string => text;

/** `--flag`, false where absent. */
export function flag(description: string): OptionSpec<boolean> {
  return { description, parse: (text) => text === "true" };
}

/** `--option <placeholder>`, any text. */
export function text<const S extends OptionSettings>(placeholder: string, settings: S): OptionSpec<Presence<string, S>> {
  return { placeholder, ...settings, parse: unchanged } as OptionSpec<Presence<string, S>>;
}

/** `--option <file>`; completes file names. */
export function file<const S extends OptionSettings>(settings: S): OptionSpec<Presence<string, S>> {
  return { placeholder: "file", completesFiles: true, ...settings, parse: unchanged } as OptionSpec<Presence<string, S>>;
}

/** `--option <folder>`; completes file names. */
export function folder<const S extends OptionSettings>(settings: S): OptionSpec<Presence<string, S>> {
  return { placeholder: "folder", completesFiles: true, ...settings, parse: unchanged } as OptionSpec<Presence<string, S>>;
}

/** `--option <placeholder>`, one of the known values. */
export function oneOf<const Known extends readonly string[], const S extends OptionSettings>(
  placeholder: string,
  choices: Known,
  settings: S,
): OptionSpec<Presence<Known[number], S>> {
  return { placeholder, choices, ...settings, parse: unchanged } as OptionSpec<Presence<Known[number], S>>;
}

/** `--option <duration>` such as `30m`, as milliseconds. */
export function durationOption<const S extends OptionSettings>(settings: S): OptionSpec<Presence<number, S>> {
  return { placeholder: "duration", unit: "ms, s, m, h or d", ...settings, parse: parseDurationText } as OptionSpec<
    Presence<number, S>
  >;
}

async function parseDurationText(value: string): Promise<number> {
  const { parseDuration } = await import("../contract/units.ts");
  const ms = parseDuration(value);
  if (ms === undefined) throw new TypeError("expected a duration with its unit, such as 30s, 15m, 6h or 7d");
  return ms;
}

/** A positional argument. */
export function argument<const S extends Omit<ArgumentSpec<string>, "parse">>(settings: S): S & { parse(text: string): string } {
  return { ...settings, parse: unchanged };
}

/** The fleet file of this call: `--fleet`, else AVIARY_FLEET_FILE, else `aviary.yaml`. */
export const fleetOption = file({
  description: "The fleet file",
  variable: "AVIARY_FLEET_FILE",
  default: "aviary.yaml",
});

/** How to select another fleet file, for commands with `fleetOption`. */
export const FLEET_OPTION_HINT = "set AVIARY_FLEET_FILE or --fleet";

/** `skillHash` as typed: `--skill-hash`. */
export function flagName(key: string): string {
  return `--${key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}
