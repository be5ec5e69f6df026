/** `aviary <command> …`: connects the commands to the arguments, streams, environment and signals of this process. */
import { EXIT } from "@aviary/shared/commands/command.ts";
import { runProgram } from "@aviary/shared/commands/program.ts";
import { systemClock } from "@aviary/shared/runtime/clock.ts";
import manifest from "../package.json" with { type: "json" };
import { COMMANDS, GROUPS, SECTIONS } from "./commands.ts";
import { COMPLETE_WORD, suggestionLines } from "./completion/suggest.ts";
import { withLocalFleet } from "./local-fleet.ts";

/** The time limit of clean-up after Ctrl-C. */
const CLEAN_UP_MS = 2_000;

const NOTES = `
Environment:
  AVIARY_URL, AVIARY_TOKEN  address of the shim and an operator's token
  AVIARY_NATS_URL           address of the broker; see docs/configuration.md
  AVIARY_FLEET_FILE         the fleet file, default aviary.yaml
  NO_COLOR                  any value turns colors off
After \`npm start\` the local fleet is the default for all of them.
`;

async function main(words: readonly string[]): Promise<number> {
  const [first, ...rest] = words;
  if (first === COMPLETE_WORD) {
    process.stdout.write(await suggestionLines(COMMANDS, GROUPS, rest));
    return EXIT.success;
  }
  const summary = "One merged verdict for every canary that runs on Macs.";
  const program = { summary, version: manifest.version, groups: GROUPS, sections: SECTIONS, notes: NOTES };
  const { stdout, stderr } = process;
  const environment = await withLocalFleet(process.env).catch((error: Error) => error.message);
  if (typeof environment !== "string")
    return await runProgram(program, words, { stdout, stderr, ...environment, signal: interruption() });
  stderr.write(`${environment}\n`);
  return EXIT.failure;
}

/** Aborts on Ctrl-C or termination; ends the process when clean-up takes too long. */
function interruption(): AbortSignal {
  const interrupt = new AbortController();
  process.once("SIGINT", () => interrupt.abort(new Error("interrupted")));
  process.once("SIGTERM", () => interrupt.abort(new Error("terminated")));
  interrupt.signal.addEventListener("abort", () =>
    systemClock.setTimer(CLEAN_UP_MS, () => process.exit(EXIT.interrupted), { background: true }),
  );
  return interrupt.signal;
}

// A closed pipe (`| head`) is not an error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(EXIT.success);
  throw error;
});
const code = await main(process.argv.slice(2));
await Promise.all([process.stdout, process.stderr].map((stream) => new Promise((resolve) => stream.write("", resolve))));
// Exits explicitly, because an abandoned connection attempt can keep the process running.
process.exit(code);
