/** `aviary <verb> …`: finds the verb, loads it, runs it. Exit codes: 0 done, 1 refused or failed, 2 called wrongly. */
import { styleText } from "node:util";
import type { CommandIo } from "@aviary/shared/commands/command.ts";
import { systemClock } from "@aviary/shared/runtime/clock.ts";
import { nearestName } from "@aviary/shared/runtime/config-issues.ts";
import { COMMANDS, type Entry } from "./commands.ts";
import { withLocalFleet } from "./local-fleet.ts";

const INTERRUPTED = 130;
/** How long a verb has to end by itself once the user gave up. */
const END_WITHIN_MS = 2_000;

const isHelp = (word: string | undefined): boolean => word === "--help" || word === "-h";

function help(verbs: readonly Entry[]): string {
  const width = Math.max(...verbs.map((verb) => verb.name.length)) + 2;
  const line = (verb: Entry): string =>
    `  ${verb.name.padEnd(width)}${styleText("dim", verb.summary, { stream: process.stdout })}`;
  return [
    "aviary <verb> [options]",
    "",
    ...verbs.map(line),
    "",
    "aviary <verb> --help shows how a verb is called.",
    "AVIARY_URL and AVIARY_TOKEN say where the shim answers; after `npm start` the local fleet is found by itself.",
    "",
  ].join("\n");
}

/** The entry that the words name (two words before one), and the words that are left. */
function find(words: readonly string[]): { entry: Entry; rest: readonly string[] } | undefined {
  for (const length of [2, 1]) {
    const name = words.slice(0, length).join(" ");
    const entry = COMMANDS.find((candidate) => candidate.name === name);
    if (entry !== undefined) return { entry, rest: words.slice(length) };
  }
  return undefined;
}

/** The verbs that begin with this word. */
function familyOf(word: string): readonly Entry[] {
  return COMMANDS.filter((verb) => verb.name.startsWith(`${word} `));
}

function unknown(words: readonly string[]): string {
  const first = words[0] ?? "";
  const family = familyOf(first).map((verb) => verb.name);
  if (family.length > 0) return `aviary ${first} needs another word: ${family.join(", ")}\n`;
  const names = COMMANDS.map((verb) => verb.name);
  const near = nearestName(words.slice(0, 2).join(" "), names) ?? nearestName(first, names);
  return `there is no verb ${JSON.stringify(words.slice(0, 2).join(" "))}${near === undefined ? "" : `; did you mean "${near}"?`}\naviary --help lists them all\n`;
}

async function main(words: readonly string[]): Promise<number> {
  const [first, second] = words;
  if (first === undefined || isHelp(first) || first === "help") {
    process.stdout.write(help(COMMANDS));
    return words.length === 0 ? 2 : 0;
  }
  if (isHelp(second) && familyOf(first).length > 0) {
    process.stdout.write(help(familyOf(first)));
    return 0;
  }
  const match = find(words);
  if (match === undefined) {
    process.stderr.write(unknown(words));
    return 2;
  }
  const verb = await match.entry.load();
  if (match.rest.some(isHelp)) {
    process.stdout.write(`${verb.summary}\n\n  aviary ${verb.usage}\n`);
    return 0;
  }
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort(new Error("interrupted")));
  process.once("SIGTERM", () => stop.abort(new Error("terminated")));
  stop.signal.addEventListener("abort", () =>
    systemClock.setTimer(END_WITHIN_MS, () => process.exit(INTERRUPTED), { background: true }),
  );
  const io: CommandIo = {
    stdout: process.stdout,
    stderr: process.stderr,
    env: await withLocalFleet(process.env),
    signal: stop.signal,
  };
  const code = await verb.run(match.rest, io);
  return stop.signal.aborted && code === 0 && match.entry.name !== "watch" && match.entry.name !== "signals tail"
    ? INTERRUPTED
    : code;
}

// A reader that goes away (`| head`) is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});
const code = await main(process.argv.slice(2));
// A connection that was given up may linger, and nothing that is left over here is worth waiting for.
await Promise.all([process.stdout, process.stderr].map((stream) => new Promise((resolve) => stream.write("", resolve))));
process.exit(code);
