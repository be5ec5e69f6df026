/**
 * A recorded stretch of production, as a folder that can be judged again anywhere:
 *
 *   aviary.yaml, policies/…   the fleet and the policies, as they were
 *   state.json                the fold's state before the first input, when the stretch does not begin with the log
 *   input.jsonl[.gz]          the log, one message a line: subject, sequence, stored_at, id, data
 *   expected.jsonl            the verdicts that the fold gives, one a line: time, verdict, run, window, codes of the reasons
 *   note.md                   why this stretch is kept, and what should be seen in it
 */
import { createReadStream, existsSync } from "node:fs";
import { join } from "node:path";
import { createGunzip } from "node:zlib";
import type { StoredMessage } from "@aviary/shared/bus/bus.ts";
import { isoTime as isoText } from "@aviary/shared/contract/iso-time.ts";
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
    /** The payload as text; what is not UTF-8 is kept as base64. */
    data: z.string(),
    base64: z.literal(true).optional(),
  }),
);

/** One stored message as one line, without the line feed. */
export function recordedLine(message: StoredMessage): string {
  const text = Buffer.from(message.data).toString();
  const faithful = Buffer.from(text).equals(Buffer.from(message.data));
  return JSON.stringify({
    subject: message.subject,
    sequence: message.sequence,
    stored_at: isoText(message.storedAt),
    ...(message.id === undefined ? {} : { id: message.id }),
    ...(faithful ? { data: text } : { data: Buffer.from(message.data).toString("base64"), base64: true }),
  });
}

/** A line back as a message. @throws Terminal `bad_recording` with the place and what is expected. */
export function messageOf(line: string, place: string): StoredMessage {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw terminal("bad_recording", `${place}: not JSON; a recording holds one message a line, as \`aviary record\` writes it`);
  }
  const parsed = lineSchema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw terminal("bad_recording", `${place}: ${issue?.path.join(".") ?? ""}: ${issue?.message ?? "unreadable"}`);
  }
  const { subject, sequence, stored_at, id, data, base64 } = parsed.data;
  return {
    subject,
    sequence,
    storedAt: Date.parse(stored_at),
    id,
    data: Buffer.from(data, base64 ? "base64" : "utf8"),
    header: () => undefined,
  };
}

/** The input of a case folder, packed or not. */
export function caseInput(folder: string): string {
  const packed = join(folder, `${CASE_FILES.input}.gz`);
  return existsSync(packed) ? packed : join(folder, CASE_FILES.input);
}

/** Reads a recording, a stretch of it at a time: memory does not grow with the file, and no message waits for a promise of its own. */
export async function* readRecording(path: string): AsyncGenerator<StoredMessage[]> {
  const file = createReadStream(path, { highWaterMark: 1 << 18 });
  const input = path.endsWith(".gz") ? file.pipe(createGunzip()) : file;
  // A pipe does not carry errors on: without this an absent file would end in silence.
  file.on("error", (error) => input.destroy(error));
  let number = 0;
  const messagesOf = (lines: readonly string[]): StoredMessage[] =>
    lines.flatMap((line) => {
      number += 1;
      return line.trim() === "" ? [] : messageOf(line, `${path}:${number}`);
    });
  let rest = "";
  for await (const text of input.setEncoding("utf8") as AsyncIterable<string>) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    yield messagesOf(lines);
  }
  yield messagesOf([rest]);
}
