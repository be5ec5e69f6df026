/**
 * `aviary replay`: replays recorded messages and prints their verdicts; `--check` also replays them under disturbances and
 * compares.
 */

import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { StoredMessage } from "@aviary/shared/bus/bus.ts";
import { scanStream } from "@aviary/shared/bus/scan-stream.ts";
import { type CommandIo, EXIT } from "@aviary/shared/commands/command.ts";
import { openBus } from "@aviary/shared/commands/open-bus.ts";
import type { VerdictRecord } from "@aviary/shared/contract/verdict.ts";
import { systemClock } from "@aviary/shared/runtime/clock.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import type { ResolvedConfig } from "../../core/resolved-config.ts";
import { createState } from "../../core/state.ts";
import { CASE_FILES, caseInput, readRecording } from "../../recording/case-folder.ts";
import { expectedLine, readCaseState, readExpected } from "../../recording/read-case.ts";
import { createReplay, firstDifference, type Replay } from "../../recording/replay.ts";
import { tallyLine, verdictLine } from "../../recording/verdict-lines.ts";
import { openConfig } from "../open-config.ts";
import { readVerdicts } from "../read-verdicts.ts";
import type { ReplayCall } from "../replay.ts";

export async function replay(call: ReplayCall): Promise<number> {
  const { recording } = call.args;
  const { since: sinceMs } = call.options;
  if (recording !== undefined && sinceMs === undefined) return await replayRecording(recording, call);
  if (recording === undefined && sinceMs !== undefined) return await replayLog(sinceMs, call);
  throw terminal("usage", "name a recording, or use --since to replay the event log");
}

interface Recording {
  /** The file of messages. */
  readonly path: string;
  /** The case folder; undefined for a file on its own. */
  readonly folder: string | undefined;
  readonly config: ResolvedConfig;
}

async function replayRecording(path: string, call: ReplayCall): Promise<number> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined)
    throw terminal("no_recording", `${path}: not found; name a case folder or a file of recorded messages`);
  const folder = found.isDirectory() ? path : undefined;
  const fleetFile = call.options.fleet ?? (folder === undefined ? defaultFleetFile(call.io) : join(folder, CASE_FILES.fleet));
  const config = await openConfig(fleetFile);
  const recording: Recording = { path: folder === undefined ? path : caseInput(folder), folder, config };
  const { verdicts } = await replayWith(recording, (state, message) => state.apply(message));
  printVerdicts(verdicts, call);
  if (!call.options.check) return EXIT.success;
  const isStable = await checkDisturbances(recording, verdicts, call.io);
  const isExpected = await checkExpected(recording, verdicts, call.io);
  return isStable && isExpected ? EXIT.success : EXIT.failure;
}

const defaultFleetFile = ({ env }: CommandIo): string => env.AVIARY_FLEET_FILE || "aviary.yaml";

type Apply = (replayed: Replay, message: StoredMessage, index: number) => void;

async function replayWith({ path, folder, config }: Recording, apply: Apply): Promise<Replay> {
  const state = folder === undefined ? undefined : await readCaseState(folder, config);
  const replayed = createReplay(config, state ?? createState(config));
  let index = 0;
  for await (const messages of readRecording(path)) for (const message of messages) apply(replayed, message, index++);
  return replayed;
}

/** The disturbances that must not change a verdict. */
const DISTURBANCES: Readonly<Record<string, Apply>> = {
  "a second time": (replayed, message) => replayed.apply(message),
  "with every message delivered twice": (replayed, message) => {
    replayed.apply(message);
    replayed.apply(message);
  },
  "with a restart after every 97th message": (replayed, message, index) => {
    replayed.apply(message);
    if (index % 97 === 96) replayed.restart();
  },
  "with a clock tick before every message": (replayed, message) => {
    replayed.advanceClock(message.storedAtMs);
    replayed.apply(message);
  },
};

async function checkDisturbances(recording: Recording, expected: readonly VerdictRecord[], io: CommandIo): Promise<boolean> {
  let isSame = true;
  for (const [name, apply] of Object.entries(DISTURBANCES)) {
    const { verdicts } = await replayWith(recording, apply);
    const difference = firstDifference(expected, verdicts);
    if (difference !== undefined) isSame = false;
    const outcome =
      difference === undefined
        ? `the same ${verdicts.length} verdicts`
        : `DIFFERENT at verdict ${difference.index + 1}: found ${difference.found?.body.id ?? "none"}, expected ${difference.expected?.body.id ?? "none"}`;
    io.stderr.write(`replayed ${name}: ${outcome}\n`);
  }
  return isSame;
}

/** Compares with the expected verdicts of a case; true for a recording that has none. */
async function checkExpected({ folder }: Recording, verdicts: readonly VerdictRecord[], io: CommandIo): Promise<boolean> {
  const expected = folder === undefined ? undefined : await readExpected(folder);
  if (expected === undefined) return true;
  const found = verdicts.map(expectedLine);
  const longer = found.length > expected.length ? found : expected;
  const index = longer.findIndex((_, line) => found[line] !== expected[line]);
  const outcome =
    index < 0 ? `the same ${found.length} verdicts` : `DIFFERENT at line ${index + 1}: ${found[index] ?? "no verdict"}`;
  io.stderr.write(`compared with ${CASE_FILES.expected}: ${outcome}\n`);
  return index < 0;
}

/** Replays the event log and compares its recent verdicts with those that the evaluator published. */
async function replayLog(sinceMs: number, call: ReplayCall): Promise<number> {
  const { options, io, resources } = call;
  const config = await openConfig(options.fleet ?? defaultFleetFile(io));
  const bus = resources.add(await openBus(io));
  const replayed = createReplay(config);
  await scanStream(bus, { stream: "INPUTS", from: "all", onMessage: (message) => replayed.apply(message) });
  const fromMs = systemClock.now() - sinceMs;
  const isRecent = (record: VerdictRecord): boolean => Date.parse(record.body.at) >= fromMs;
  const recent = replayed.verdicts.filter(isRecent);
  printVerdicts(recent, call);
  const published = new Set((await readVerdicts(bus, { time: fromMs })).filter(isRecent).map((record) => record.body.id));
  const sameCount = recent.filter((record) => published.has(record.body.id)).length;
  io.stderr.write(
    `replayed ${replayed.messageCount} messages: ${sameCount} of ${recent.length} verdicts match a published one; ${published.size} were published\n`,
  );
  return EXIT.success;
}

function printVerdicts(records: readonly VerdictRecord[], { output, io }: ReplayCall): void {
  for (const record of records) io.stdout.write(`${output === "json" ? JSON.stringify(record) : verdictLine(record.body)}\n`);
  if (output !== "json") io.stdout.write(`${tallyLine(records.map((record) => record.body))}\n`);
}
