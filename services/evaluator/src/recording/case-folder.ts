/**
 * A case folder: a segment of the event log that can be replayed anywhere.
 *
 *   aviary.yaml, policies/…   the fleet file and its policies at the time
 *   state.json                the evaluator's state before the first message; absent when the segment begins with the log
 *   input.jsonl[.gz]          the messages, one per line: subject, sequence, stored_at, id, data
 *   expected.jsonl            the verdicts, one per line: time, verdict, run, window, codes of the reasons
 *   note.md                   why the case is kept, and what to look for
 */
import { createReadStream, existsSync } from "node:fs";
import { join } from "node:path";
import { createGunzip } from "node:zlib";
import type { StoredMessage } from "@aviary/shared/bus/bus.ts";
import { isoTime } from "@aviary/shared/contract/iso-time.ts";
import { isoTimeSchema } from "@aviary/shared/contract/signal.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import { z } from "zod";

export const CASE_FILES = {
  state: "state.json",
  input: "input.jsonl",
  expected: "expected.jsonl",
  note: "note.md",
  fleet: "aviary.yaml",
} as const;

const lineSchema = z.compile(
  z.object({
    subject: z.string().min(1).max(320),
    sequence: z.int().min(1),
    stored_at: isoTimeSchema,
    id: z.string().max(320).optional(),
    /** The payload as text; base64 when it is not UTF-8. */
    data: z.string(),
    base64: z.literal(true).optional(),
  }),
);

/** Encodes a message as one line, without the line feed. */
export function recordedLine(message: StoredMessage): string {
  const text = Buffer.from(message.data).toString();
  const isUtf8 = Buffer.from(text).equals(Buffer.from(message.data));
  return JSON.stringify({
    subject: message.subject,
    sequence: message.sequence,
    stored_at: isoTime(message.storedAtMs),
    ...(message.id === undefined ? {} : { id: message.id }),
    ...(isUtf8 ? { data: text } : { data: Buffer.from(message.data).toString("base64"), base64: true }),
  });
}

/** Decodes a line. @throws Terminal `bad_recording` with the place and what is expected */
export function messageOf(line: string, place: string): StoredMessage {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw terminal("bad_recording", `${place}: not JSON; expected one message per line, as written by \`aviary record\``);
  }
  const parsed = lineSchema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw terminal("bad_recording", `${place}: ${issue?.path.join(".") ?? ""}: ${issue?.message ?? "invalid"}`);
  }
  const { subject, sequence, stored_at, id, data, base64 } = parsed.data;
  return {
    subject,
    sequence,
    storedAtMs: Date.parse(stored_at),
    id,
    data: Buffer.from(data, base64 ? "base64" : "utf8"),
    header: () => undefined,
  };
}

/** The path of the messages of a case, compressed or not. */
export function caseInput(folder: string): string {
  const compressed = join(folder, `${CASE_FILES.input}.gz`);
  return existsSync(compressed) ? compressed : join(folder, CASE_FILES.input);
}

/** Reads a recording in batches, so that memory does not grow with the file and messages do not cost one promise each. */
export async function* readRecording(path: string): AsyncGenerator<StoredMessage[]> {
  const file = createReadStream(path, { highWaterMark: 1 << 18 });
  const input = path.endsWith(".gz") ? file.pipe(createGunzip()) : file;
  // `pipe` does not forward errors: without this, an absent file would look empty.
  file.on("error", (error) => input.destroy(error));
  let lineNumber = 0;
  const messagesOf = (lines: readonly string[]): StoredMessage[] =>
    lines.flatMap((line) => {
      lineNumber += 1;
      return line.trim() === "" ? [] : messageOf(line, `${path}:${lineNumber}`);
    });
  let incomplete = "";
  for await (const text of input.setEncoding("utf8") as AsyncIterable<string>) {
    const lines = (incomplete + text).split("\n");
    incomplete = lines.pop()!;
    yield messagesOf(lines);
  }
  yield messagesOf([incomplete]);
}
