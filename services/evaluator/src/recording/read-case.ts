/** Reading a case folder. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { VerdictRecord } from "@aviary/shared/contract/verdict.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import { decodeCheckpoint } from "../core/checkpoint.ts";
import type { ResolvedConfig } from "../core/resolved-config.ts";
import type { State } from "../core/state.ts";
import { CASE_FILES } from "./case-folder.ts";

/** The state before the first input of a case; undefined when the case begins with the log. @throws Terminal `bad_recording` */
export async function readCaseState(folder: string, setup: ResolvedConfig): Promise<State | undefined> {
  const path = join(folder, CASE_FILES.state);
  const text = await readIfThere(path);
  if (text === undefined) return undefined;
  const state = decodeCheckpoint(text, setup);
  if (state === undefined) throw terminal("bad_recording", `${path}: not a state of this version; record the case again`);
  return state;
}

/** The verdicts that a case is expected to give, as their lines; undefined when it does not say. */
export async function readExpected(folder: string): Promise<string[] | undefined> {
  const text = await readIfThere(join(folder, CASE_FILES.expected));
  return text?.split("\n").filter((line) => line !== "");
}

async function readIfThere(path: string): Promise<string | undefined> {
  return await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
}

/** One expected line: what was said, without the ids that change with every word of a sentence. */
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
