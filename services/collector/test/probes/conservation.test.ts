/** Every line that a proxy writes is counted in exactly one class, whatever happens to the file before it is read. */
import assert from "node:assert/strict";
import { appendFile, copyFile, type FileHandle, open, rename, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { it, type TestContext } from "node:test";
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import { faultCode } from "@aviary/shared/runtime/faults.ts";
import { temporaryDirectory } from "@aviary/shared/testing/temporary.ts";
import fc from "fast-check";
import { accessLog } from "../../src/probes/access-log.ts";
import { openProbe, probeContext, type TestProbe, type TestProbeContext } from "../probe-context.ts";

const START = Date.UTC(2026, 10, 21, 10, 0, 0);

const line = (change: object): string =>
  JSON.stringify({
    ts: (START + 1_000) / 1_000,
    status: 200,
    duration_ms: 10,
    user_agent: "app/1",
    host: "canary.example",
    ...change,
  });

type Class = "requests" | "aborted" | "probes" | "streams" | "unread" | "leftOut";

const LINES: readonly (readonly [text: string, of: Class])[] = [
  [line({}), "requests"],
  [line({ status: 503 }), "requests"],
  [line({ complete: false }), "requests"],
  [line({ status: 404 }), "requests"],
  [line({ status: 499 }), "aborted"],
  [line({ status: 0, duration_ms: 0 }), "aborted"],
  [line({ status: 101, duration_ms: 3_600_000 }), "streams"],
  [line({ content_type: "text/event-stream", duration_ms: 3_600_000 }), "streams"],
  [line({ user_agent: "kube-probe/1.31" }), "probes"],
  [line({ user_agent: "aviary-synthetic/1", status: 502 }), "probes"],
  [line({ host: "stable.example" }), "leftOut"],
  [line({ ts: START / 1_000 - 60 }), "leftOut"],
  ["garbage", "unread"],
  [line({}).slice(0, 40), "unread"],
  [line({ ts: "yesterday" }), "unread"],
  [line({ duration_ms: 3_600_000 }), "unread"],
  [line({ host: undefined }), "unread"],
  ["é".repeat(200_000), "unread"],
];

/**
 * How the proxy writes its log: it opens the file for every line, keeps it open through renames, or keeps it open at a position,
 * without O_APPEND.
 */
type WriterKind = "reopens" | "keeps" | "positions";

interface Writer {
  write(text: string): Promise<void>;
  /** After a rename, the proxies that reopen their log do so. */
  reopen(): Promise<void>;
  close(): Promise<void>;
}

async function openWriter(kind: WriterKind, path: string): Promise<Writer> {
  if (kind === "reopens") return { write: (text) => appendFile(path, text), reopen: async () => {}, close: async () => {} };
  let handle: FileHandle = await open(path, kind === "keeps" ? "a" : "r+");
  let position = 0;
  return {
    async write(text) {
      const { bytesWritten } = await handle.write(text, kind === "keeps" ? null : position);
      position += bytesWritten;
    },
    async reopen() {
      if (kind === "keeps") return;
      await handle.close();
      handle = await open(path, "r+");
      position = 0;
    },
    close: () => handle.close(),
  };
}

/** The lines that the proxy has written, and those that the signals contain. */
interface Books {
  readonly written: Record<Class, number>;
  readonly counted: Record<Class, number>;
  /** Lines that a truncation removed before any read. */
  destroyed: number;
}

const emptyClasses = (): Record<Class, number> => ({ requests: 0, aborted: 0, probes: 0, streams: 0, unread: 0, leftOut: 0 });

const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant("line" as const), of: fc.nat(LINES.length - 1) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("half" as const),
      of: fc.nat(LINES.length - 1),
      share: fc.double({ min: 0.1, max: 0.9, noNaN: true }),
    }),
  },
  { weight: 4, arbitrary: fc.constant({ do: "read" as const }) },
  { weight: 1, arbitrary: fc.constant({ do: "rotate" as const }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("truncate" as const), copy: fc.boolean(), unseen: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.constant({ do: "nuls" as const }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

class Scenario {
  readonly path: string;
  readonly books: Books = { written: emptyClasses(), counted: emptyClasses(), destroyed: 0 };
  readonly context: TestProbeContext;
  readonly #probe: TestProbe;
  readonly #writer: Writer;
  readonly #kind: WriterKind;
  #atMs = START + 5_000;
  #rotations = 0;
  #lines = 0;
  /** The rest of an unfinished line, and its class. */
  #rest: readonly [string, Class] | undefined;

  constructor(path: string, context: TestProbeContext, probe: TestProbe, writer: Writer, kind: WriterKind) {
    this.path = path;
    this.context = context;
    this.#probe = probe;
    this.#writer = writer;
    this.#kind = kind;
  }

  async perform(one: Step): Promise<void> {
    switch (one.do) {
      case "line":
        return await this.#write(LINES[one.of]);
      case "half": {
        await this.#finishLine();
        const [text, of] = this.#numbered(LINES[one.of]);
        const cut = Math.max(1, Math.floor(text.length * one.share));
        await this.#writer.write(text.slice(0, cut));
        this.#rest = [text.slice(cut), of];
        return;
      }
      case "read":
        return await this.read();
      case "rotate":
        return await this.#rotate();
      case "truncate":
        return await this.#truncate(one.copy, one.unseen);
      case "nuls":
        await this.#finishLine();
        return await this.#writer.write("\0".repeat(1_000));
    }
  }

  async #write(entry: readonly [string, Class] | undefined): Promise<void> {
    await this.#finishLine();
    const [text, of] = this.#numbered(entry);
    await this.#writer.write(`${text}\n`);
    this.books.written[of] += 1;
  }

  /** No two lines of a log are equal, because their times differ. */
  #numbered(entry: readonly [string, Class] | undefined): readonly [string, Class] {
    const [text, of] = entry as readonly [string, Class];
    this.#lines += 1;
    return [text.startsWith("{") ? `{"n":${this.#lines},${text.slice(1)}` : `${text}${this.#lines}`, of];
  }

  async #finishLine(): Promise<void> {
    if (this.#rest === undefined) return;
    const [rest, of] = this.#rest;
    this.#rest = undefined;
    await this.#writer.write(`${rest}\n`);
    this.books.written[of] += 1;
  }

  async read(): Promise<void> {
    this.#atMs += 5_000;
    try {
      const body = (await this.#probe.read(this.#atMs)).bodies[0] as SignalBody<"http">;
      const { counted } = this.books;
      counted.requests += body.requests;
      for (const key of ["aborted", "probes", "streams", "unread"] as const) counted[key] += body[key] ?? Number.NaN;
    } catch (error) {
      // No line of this reading was understood; they are counted by the next signal.
      assert.equal(faultCode(error), "wrong_format");
    }
  }

  async #rotate(): Promise<void> {
    // A proxy that reopens its log finishes its line first; the others continue in the renamed file.
    await this.#finishLine();
    this.#rotations += 1;
    await rename(this.path, `${this.path}.${this.#rotations}`);
    await writeFile(this.path, "");
    await this.#writer.reopen();
  }

  async #truncate(copy: boolean, unseen: number): Promise<void> {
    // A proxy that never reopens its log does not write to this file.
    if (this.#kind === "keeps" && this.#rotations > 0) return;
    // A file that was never read and is empty again cannot be recognized as truncated.
    await this.#write(LINES[0]);
    await this.read();
    for (let count = 0; count < unseen; count += 1) await this.#write(LINES[count]);
    if (copy) {
      this.#rotations += 1;
      await copyFile(this.path, `${this.path}.${this.#rotations}`);
    } else {
      this.books.destroyed += unseen;
    }
    await truncate(this.path, 0);
  }

  /** Writes a last line, reads everything, and returns the counts. */
  async finish(): Promise<Books> {
    await this.#write(LINES[0]);
    for (let count = 0; count < 4; count += 1) await this.read();
    await this.#writer.close();
    this.books.counted.leftOut = this.context.counted.get("left_out_lines") ?? 0;
    return this.books;
  }
}

async function begin(test: TestContext, kind: WriterKind): Promise<Scenario> {
  const path = join(await temporaryDirectory(test), "access.log");
  await writeFile(path, "");
  const context = probeContext(test);
  const clock = { ...context.clock, now: () => START };
  const probe = openProbe(test, accessLog, { path, format: "jsonl", hosts: ["canary.example"] }, { ...context, clock });
  await probe.read(START);
  return new Scenario(path, context, probe, await openWriter(kind, path), kind);
}

for (const kind of ["reopens", "keeps", "positions"] as const)
  it(`conserves every line of a writer that ${kind} its file, across rotation, truncation, halves, garbage and NULs`, async (test) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const scenario = await begin(test, kind);
        for (const one of steps) await scenario.perform(one);
        const { written, counted, destroyed } = await scenario.finish();
        const lost = scenario.context.counted.get("lost_lines") ?? 0;
        assert.ok(destroyed === 0 || lost > 0, "lines were destroyed unread, and no signal reports them");
        const sum = (classes: Record<Class, number>): number => Object.values(classes).reduce((a, b) => a + b, 0);
        assert.equal(sum(counted) - lost, sum(written) - destroyed);
        if (lost === 0) assert.deepEqual(counted, written);
      }),
      { numRuns: 60 },
    );
  });
