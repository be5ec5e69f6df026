/** `aviary record`: saves a segment of the event log as a case folder. */

import { copyFile, mkdir, readdir, writeFile } from "node:fs/promises";
import { dirname, isAbsolute, join, normalize } from "node:path";
import { gzipSync } from "node:zlib";
import type { Bus } from "@aviary/shared/bus/bus.ts";
import { scanStream } from "@aviary/shared/bus/scan-stream.ts";
import { EXIT } from "@aviary/shared/commands/command.ts";
import { openBus } from "@aviary/shared/commands/open-bus.ts";
import { isoTime } from "@aviary/shared/contract/iso-time.ts";
import type { VerdictRecord } from "@aviary/shared/contract/verdict.ts";
import { systemClock } from "@aviary/shared/runtime/clock.ts";
import { readYamlFile } from "@aviary/shared/runtime/config.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import { encodeCheckpoint } from "../../core/checkpoint.ts";
import type { ResolvedConfig } from "../../core/resolved-config.ts";
import { CASE_FILES, recordedLine } from "../../recording/case-folder.ts";
import { expectedLine } from "../../recording/read-case.ts";
import { createReplay } from "../../recording/replay.ts";
import { tallyLine } from "../../recording/verdict-lines.ts";
import { openConfig } from "../open-config.ts";
import type { RecordCall } from "../record.ts";

const MAX_MESSAGES = 2_000_000;

export async function record({ options: { since: sinceMs, out, note, fleet }, io, resources }: RecordCall): Promise<number> {
  await requireNewFolder(out);
  const config = await openConfig(fleet);
  const policies = await policyFiles(fleet);
  const fromMs = systemClock.now() - sinceMs;
  const bus = resources.add(await openBus(io));
  const segment = await readSegment(bus, config, fromMs);
  await mkdir(out, { recursive: true });
  await copyConfig(fleet, policies, out);
  await writeSegment(out, segment);
  const recorded = `Recorded ${isoTime(systemClock.now())}: ${segment.lines.length.toLocaleString("en-US")} messages since ${isoTime(fromMs)}.`;
  await writeFile(join(out, CASE_FILES.note), `${note.trim()}\n\n${recorded}\n`);
  io.stdout.write(
    `${out}: ${segment.lines.length.toLocaleString("en-US")} messages, ${tallyLine(segment.verdicts.map(({ body }) => body))}\n`,
  );
  return EXIT.success;
}

interface RecordedSegment {
  /** The encoded state before the first message; undefined if the segment begins with the log. */
  readonly state: string | undefined;
  readonly lines: readonly string[];
  readonly verdicts: readonly VerdictRecord[];
}

/** Replays the whole log and keeps the messages since `fromMs`. @throws Terminal if there are none, or too many for one case */
async function readSegment(bus: Bus, config: ResolvedConfig, fromMs: number): Promise<RecordedSegment> {
  const replay = createReplay(config);
  const lines: string[] = [];
  let state: string | undefined;
  let verdictsBefore = 0;
  await scanStream(bus, {
    stream: "INPUTS",
    from: "all",
    onMessage: (message) => {
      if (message.storedAtMs >= fromMs) {
        if (lines.length === 0) {
          state = replay.messageCount > 0 ? encodeCheckpoint(replay.state) : undefined;
          verdictsBefore = replay.verdicts.length;
        }
        if (lines.length <= MAX_MESSAGES) lines.push(recordedLine(message));
      }
      replay.apply(message);
    },
  });
  if (lines.length === 0) throw terminal("nothing_recorded", `INPUTS has no message since ${isoTime(fromMs)}`);
  if (lines.length > MAX_MESSAGES)
    throw terminal(
      "too_much",
      `more than ${MAX_MESSAGES.toLocaleString("en-US")} messages since ${isoTime(fromMs)}: record a shorter segment`,
    );
  return { state, lines, verdicts: replay.verdicts.slice(verdictsBefore) };
}

async function writeSegment(out: string, { state, lines, verdicts }: RecordedSegment): Promise<void> {
  if (state !== undefined) await writeFile(join(out, CASE_FILES.state), state);
  await writeFile(join(out, `${CASE_FILES.input}.gz`), gzipSync(`${lines.join("\n")}\n`));
  await writeFile(join(out, CASE_FILES.expected), verdicts.map((verdict) => `${expectedLine(verdict)}\n`).join(""));
}

/** Never overwrites a case. @throws Terminal `usage` unless the folder is absent or empty */
async function requireNewFolder(out: string): Promise<void> {
  const names = await readdir(out).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw terminal(
      "usage",
      `--out ${out}: ${error.code === "ENOTDIR" ? "a file exists at this path; name a folder" : error.message}`,
      error,
    );
  });
  if (names.length > 0) throw terminal("usage", `--out ${out}: the folder is not empty; name a new one`);
}

/**
 * The policies of a fleet file, as relative paths. @throws Terminal `usage` for one outside the folder of the fleet
 * file
 */
async function policyFiles(fleetPath: string): Promise<string[]> {
  const { value } = await readYamlFile(fleetPath);
  const canaries = (value as { canaries?: Record<string, { policy?: unknown }> } | null)?.canaries ?? {};
  const files = Object.values(canaries).flatMap(({ policy }) => (typeof policy === "string" ? policy : []));
  for (const file of files) {
    if (isAbsolute(file) || normalize(file).startsWith("../"))
      throw terminal(
        "usage",
        `${fleetPath}: the policy ${file} is outside the folder of the fleet file and cannot be part of a case: move it into that folder`,
      );
  }
  return files;
}

/** Copies the fleet file and its policies, keeping their relative paths. */
async function copyConfig(fleetPath: string, policies: readonly string[], out: string): Promise<void> {
  await copyFile(fleetPath, join(out, CASE_FILES.fleet));
  for (const policy of policies) {
    await mkdir(dirname(join(out, policy)), { recursive: true });
    await copyFile(join(dirname(fleetPath), policy), join(out, policy));
  }
}
