/** `aviary replay`: the fold over recorded input. The same input gives the same bytes; `--check` proves it on this very input. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { StoredMessage } from "@aviary/shared/bus/bus.ts";
import type { Command, CommandIo } from "@aviary/shared/commands/command.ts";
import type { VerdictRecord } from "@aviary/shared/contract/verdict.ts";
import { systemClock } from "@aviary/shared/runtime/clock.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import type { ResolvedConfig } from "../core/resolved-config.ts";
import { createState } from "../core/state.ts";
import { CASE_FILES, caseInput, readRecording } from "../recording/case-folder.ts";
import { expectedLine, readCaseState, readExpected } from "../recording/read-case.ts";
import { firstDifference, type Refold, refold } from "../recording/refold.ts";
import { tallyLine, verdictLine } from "../recording/story.ts";
import { durationArg, openBus, openSetup, told } from "./open.ts";
import { readVerdicts } from "./read-verdicts.ts";

const USAGE = "replay <input.jsonl | case folder | --since 6h> [--fleet aviary.yaml] [--check] [--json]";

export const replayVerb: Command = {
  name: "replay",
  summary: "judge recorded input again, byte for byte",
  usage: USAGE,
  run: (args, io) =>
    told(USAGE, io, async () => {
      const { values, positionals } = parseArgs({
        args: [...args],
        allowPositionals: true,
        options: {
          since: { type: "string" },
          fleet: { type: "string" },
          check: { type: "boolean", default: false },
          json: { type: "boolean", default: false },
        },
      });
      const [path] = positionals;
      if ((path === undefined) === (values.since === undefined))
        throw terminal("usage", "name a recording, or --since and how far back");
      const print = (records: readonly VerdictRecord[]): void => {
        for (const record of records) io.stdout.write(`${values.json ? JSON.stringify(record) : verdictLine(record.body)}\n`);
        if (!values.json) io.stdout.write(`${tallyLine(records.map((record) => record.body))}\n`);
      };
      if (path === undefined) {
        const { setup } = await openSetup(values.fleet, io);
        return await replaySince(durationArg("since", values.since!), setup, io, print);
      }
      const found = await stat(path).catch(() => undefined);
      if (found === undefined)
        throw terminal("no_recording", `${path}: found nothing there, expected a recording or a case folder`);
      const folder = found.isDirectory();
      const { setup } = await openSetup(values.fleet ?? (folder ? join(path, CASE_FILES.fleet) : undefined), io);
      return await replayFile(folder ? caseInput(path) : path, folder ? path : undefined, setup, values.check, io, print);
    }),
};

type Print = (records: readonly VerdictRecord[]) => void;

async function replayFile(
  path: string,
  folder: string | undefined,
  setup: ResolvedConfig,
  check: boolean,
  io: CommandIo,
  print: Print,
): Promise<number> {
  const start = async (): Promise<Refold> =>
    refold(setup, (folder === undefined ? undefined : await readCaseState(folder, setup)) ?? createState(setup));
  const first = await start();
  for await (const messages of readRecording(path)) for (const message of messages) first.take(message);
  print(first.verdicts);
  if (!check) return 0;
  const ways: [string, (fold: Refold, message: StoredMessage, index: number) => void][] = [
    ["a second time", (fold, message) => fold.take(message)],
    [
      "with every message given twice",
      (fold, message) => {
        fold.take(message);
        fold.take(message);
      },
    ],
    [
      "with a crash after every 97th message",
      (fold, message, index) => {
        fold.take(message);
        if (index % 97 === 96) fold.crash();
      },
    ],
    [
      "with the broker's clock told before every message",
      (fold, message) => {
        fold.clock(message.storedAt);
        fold.take(message);
      },
    ],
  ];
  let same = true;
  for (const [way, give] of ways) {
    const again = await start();
    let index = 0;
    for await (const messages of readRecording(path)) for (const message of messages) give(again, message, index++);
    const difference = firstDifference(first.verdicts, again.verdicts);
    if (difference !== undefined) same = false;
    const outcome =
      difference === undefined
        ? `the same ${again.verdicts.length} verdicts`
        : `DIFFERENT at verdict ${difference.index + 1}: ${difference.found?.body.id ?? "none"} for ${difference.expected?.body.id ?? "none"}`;
    io.stderr.write(`replayed ${way}: ${outcome}\n`);
  }
  const expected = folder === undefined ? undefined : await readExpected(folder);
  if (expected !== undefined) {
    const found = first.verdicts.map(expectedLine);
    const longer = found.length > expected.length ? found : expected;
    const at = longer.findIndex((_, index) => found[index] !== expected[index]);
    if (at >= 0) same = false;
    const outcome = at < 0 ? `the same ${found.length} verdicts` : `DIFFERENT at line ${at + 1}: ${found[at] ?? "no verdict"}`;
    io.stderr.write(`compared with ${CASE_FILES.expected}: ${outcome}\n`);
  }
  return same ? 0 : 1;
}

/** Folds what INPUTS still holds and prints the verdicts of the last stretch, beside what the evaluator published then. */
async function replaySince(sinceMs: number, setup: ResolvedConfig, io: CommandIo, print: Print): Promise<number> {
  const bus = await openBus(io);
  try {
    const fold = refold(setup);
    const follower = await bus.follow({ stream: "INPUTS", from: "all", onMessage: (message) => fold.take(message) });
    await follower.caughtUp;
    await follower.stop();
    const fromMs = systemClock.now() - sinceMs;
    const isRecent = (record: VerdictRecord): boolean => Date.parse(record.body.at) >= fromMs;
    const recent = fold.verdicts.filter(isRecent);
    print(recent);
    const published = new Set((await readVerdicts(bus, { time: fromMs })).filter(isRecent).map((record) => record.body.id));
    const same = recent.filter((record) => published.has(record.body.id)).length;
    io.stderr.write(
      `folded ${fold.messages} messages; ${same} of ${recent.length} verdicts have the id that was published, ${published.size} were published since\n`,
    );
    return 0;
  } finally {
    await bus[Symbol.asyncDispose]();
  }
}
