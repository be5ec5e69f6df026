/** Reads the optional files of a case folder: its initial state and its expected verdicts. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { VerdictRecord } from "@aviary/shared/contract/verdict.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import { decodeCheckpoint } from "../core/checkpoint.ts";
import type { ResolvedConfig } from "../core/resolved-config.ts";
import type { State } from "../core/state.ts";
import { CASE_FILES } from "./case-folder.ts";

/** The state before the first message; undefined for a case that begins with the log. @throws Terminal `bad_recording` */
export async function readCaseState(folder: string, config: ResolvedConfig): Promise<State | undefined> {
  const path = join(folder, CASE_FILES.state);
  const text = await readIfExists(path);
  if (text === undefined) return undefined;
  const state = decodeCheckpoint(text, config);
  if (state === undefined) throw terminal("bad_recording", `${path} was written by another version; record the case again`);
  return state;
}

/** The expected verdicts as lines; undefined for a case without them. */
export async function readExpected(folder: string): Promise<string[] | undefined> {
  const text = await readIfExists(join(folder, CASE_FILES.expected));
  return text?.split("\n").filter((line) => line !== "");
}

async function readIfExists(path: string): Promise<string | undefined> {
  return await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
}

/** One line of expected verdicts. Leaves out texts and ids, because an id changes with the wording of a reason. */
export function expectedLine({ body }: VerdictRecord): string {
  const { at, verdict, window, run } = body;
  return JSON.stringify({
    at,
    verdict,
    run: run?.state ?? null,
    window: window?.index ?? null,
    reasons: body.reasons.map((reason) => reason.code),
  });
}
