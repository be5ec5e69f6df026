/** `aviary record`: saves a stretch of production as a case folder that `aviary replay` and the tests judge again. */
import { copyFile, mkdir, readdir, writeFile } from "node:fs/promises";
import { dirname, isAbsolute, join, normalize } from "node:path";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import type { Command } from "@aviary/shared/commands/command.ts";
import { isoTime } from "@aviary/shared/contract/iso-time.ts";
import { systemClock } from "@aviary/shared/runtime/clock.ts";
import { readYamlFile } from "@aviary/shared/runtime/config.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import { encodeCheckpoint } from "../core/checkpoint.ts";
import { CASE_FILES, recordedLine } from "../recording/case-folder.ts";
import { expectedLine } from "../recording/read-case.ts";
import { refold } from "../recording/refold.ts";
import { tallyLine } from "../recording/story.ts";
import { durationArg, openBus, openSetup, told } from "./open.ts";

const USAGE = 'record --since 2h --out <folder> --note "why it is kept" [--fleet aviary.yaml]';
/** The most messages that one case holds; a stretch with more is refused. */
const MAX_MESSAGES = 2_000_000;

export const recordVerb: Command = {
  name: "record",
  summary: "save a stretch of production as a case folder",
  usage: USAGE,
  run: (args, io) =>
    told(USAGE, io, async () => {
      const { values } = parseArgs({
        args: [...args],
        options: { since: { type: "string" }, out: { type: "string" }, note: { type: "string" }, fleet: { type: "string" } },
      });
      const { since, out, note } = values;
      if (since === undefined || out === undefined || note === undefined || note.trim() === "")
        throw terminal("usage", "record needs --since, --out and --note: a case without a reason is not kept");
      await refuseUnlessNew(out);
      const { setup, path } = await openSetup(values.fleet, io);
      const policies = await policyFiles(path);
      const fromMs = systemClock.now() - durationArg("since", since);
      const bus = await openBus(io);
      try {
        const fold = refold(setup);
        const lines: string[] = [];
        let state: string | undefined;
        let before = 0;
        const follower = await bus.follow({
          stream: "INPUTS",
          from: "all",
          onMessage: (message) => {
            if (message.storedAt >= fromMs) {
              if (lines.length === 0) {
                state = fold.messages > 0 ? encodeCheckpoint(fold.state) : undefined;
                before = fold.verdicts.length;
              }
              if (lines.length <= MAX_MESSAGES) lines.push(recordedLine(message));
            }
            fold.take(message);
          },
        });
        await follower.caughtUp;
        await follower.stop();
        if (lines.length === 0) throw terminal("nothing_recorded", `INPUTS holds nothing since ${isoTime(fromMs)}`);
        if (lines.length > MAX_MESSAGES)
          throw terminal("too_much", `more than ${MAX_MESSAGES} messages since ${isoTime(fromMs)}: record a shorter stretch`);
        const records = fold.verdicts.slice(before);
        await mkdir(out, { recursive: true });
        await copySettings(path, policies, out);
        if (state !== undefined) await writeFile(join(out, CASE_FILES.state), state);
        await writeFile(join(out, `${CASE_FILES.input}.gz`), gzipSync(`${lines.join("\n")}\n`));
        await writeFile(join(out, CASE_FILES.expected), records.map((record) => `${expectedLine(record)}\n`).join(""));
        await writeFile(
          join(out, CASE_FILES.note),
          `${note.trim()}\n\nRecorded ${isoTime(systemClock.now())}: ${lines.length} messages since ${isoTime(fromMs)}.\n`,
        );
        io.stdout.write(`${out}: ${lines.length} messages, ${tallyLine(records.map((record) => record.body))}\n`);
        return 0;
      } finally {
        await bus[Symbol.asyncDispose]();
      }
    }),
};

/** A case that is there already is never written over, and two are never mixed. @throws Terminal `usage` */
async function refuseUnlessNew(out: string): Promise<void> {
  const names = await readdir(out).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw terminal("usage", `--out ${out}: ${error.code === "ENOTDIR" ? "there is a file in the way" : error.message}`, error);
  });
  if (names.length > 0) throw terminal("usage", `--out ${out}: there is something in this folder already; name a new one`);
}

/** The policies that a fleet file names, as paths from its folder. @throws Terminal `usage` for one that a case could not hold */
async function policyFiles(fleetPath: string): Promise<string[]> {
  const { value } = await readYamlFile(fleetPath);
  const canaries = (value as { canaries?: Record<string, { policy?: unknown }> } | null)?.canaries ?? {};
  const files = Object.values(canaries).flatMap(({ policy }) => (typeof policy === "string" ? policy : []));
  for (const file of files) {
    if (isAbsolute(file) || normalize(file).startsWith("../"))
      throw terminal(
        "usage",
        `${fleetPath}: the policy ${file} is not below the fleet file's folder, as a case needs it: move it there`,
      );
  }
  return files;
}

/** The fleet file and its policies, at the same places beside each other. */
async function copySettings(fleetPath: string, policies: readonly string[], out: string): Promise<void> {
  await copyFile(fleetPath, join(out, CASE_FILES.fleet));
  for (const policy of policies) {
    await mkdir(dirname(join(out, policy)), { recursive: true });
    await copyFile(join(dirname(fleetPath), policy), join(out, policy));
  }
}
