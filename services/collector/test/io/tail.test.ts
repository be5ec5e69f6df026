import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { appendFile, copyFile, mkdir, open, rename, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { atEnd, temporaryDirectory } from "@aviary/shared/testing/temporary.ts";
import fc from "fast-check";
import type { TailReport } from "../../src/io/followed-files.ts";
import { type LogTail, openTail } from "../../src/io/tail.ts";

const NEVER = new AbortController().signal;
const BUDGET = 1024 * 1024;
const NOTE = "Nov 26 00:00:00 mac-a1 newsyslog[2662]: logfile turned over due to size>5120K\n";

async function follow(test: TestContext, content: string | undefined, maxLineBytes?: number) {
  const path = join(await temporaryDirectory(test), "access.log");
  if (content !== undefined) await writeFile(path, content);
  const tail = await openTail({ path, ...(maxLineBytes === undefined ? {} : { maxLineBytes }) });
  atEnd(test, () => tail[Symbol.asyncDispose]());
  return { path, tail, read: () => readLines(tail) };
}

async function readLines(tail: LogTail, budget = BUDGET): Promise<{ lines: string[] } & TailReport> {
  const lines: string[] = [];
  const report = await tail.read(budget, (line) => lines.push(line), NEVER);
  return { lines, ...report };
}

describe("a tail", () => {
  it("starts at the end of the file, and skips the remainder of a partial line", async (test) => {
    const { path, read } = await follow(test, "old\nhal");
    await appendFile(path, "f\nnew\n");
    assert.deepEqual((await read()).lines, ["new"]);
  });

  it("buffers a partial line until it is complete", async (test) => {
    const { path, read } = await follow(test, "");
    await appendFile(path, "one\ntw");
    assert.deepEqual((await read()).lines, ["one"]);
    assert.deepEqual((await read()).lines, []);
    await appendFile(path, "o\n\n\uFEFFthree\r\n");
    assert.deepEqual((await read()).lines, ["two", "three"]);
  });

  it("reads a file that is created later from its start", async (test) => {
    const { path, read } = await follow(test, undefined);
    await assert.rejects(read(), { code: "no_such_file" });
    await writeFile(path, "first\n");
    assert.deepEqual((await read()).lines, ["first"]);
  });

  it("skips only oversized lines", async (test) => {
    const { path, read } = await follow(test, "", 10);
    await appendFile(path, `short\n${"x".repeat(11)}\nalso\n${"y".repeat(1_000_000)}`);
    const first = await read();
    assert.deepEqual([first.lines, first.oversizedLines], [["short", "also"], 2]);
    await appendFile(path, "yyy\nlast\n");
    assert.deepEqual((await read()).lines, ["last"]);
  });

  it("respects its byte budget and catches up", async (test) => {
    const { path, tail } = await follow(test, "");
    await writeFile(path, "0123456\n".repeat(100));
    const first = await readLines(tail, 80);
    assert.deepEqual([first.lines.length, first.bytes, first.unreadBytes], [10, 80, 720]);
    assert.equal((await readLines(tail)).lines.length, 90);
  });

  it("stops when the signal aborts", async (test) => {
    const { tail } = await follow(test, "");
    await assert.rejects(
      tail.read(BUDGET, () => {}, AbortSignal.abort(new Error("stop"))),
      /stop/,
    );
  });
});

describe("rotation by rename", () => {
  it("reads the old file to its end, including lines after the rename, and the new file from its start", async (test) => {
    const { path, read } = await follow(test, "");
    await appendFile(path, "a\n");
    await rename(path, `${path}.1`);
    await appendFile(`${path}.1`, "b\nc-without-end");
    await writeFile(path, "d\n");
    const first = await read();
    assert.deepEqual([first.lines.sort(), first.rotations], [["a", "b", "d"], 1]);
    // nginx writes to the old file until it receives the reopen signal.
    await appendFile(`${path}.1`, "-now\n");
    await appendFile(path, "e\n");
    assert.deepEqual((await read()).lines.sort(), ["c-without-end-now", "e"]);
    assert.equal((await read()).rotations, 0);
  });

  it("emits a partial line at the end of the old file once its writer has left it", async (test) => {
    const { path, read } = await follow(test, "");
    await appendFile(path, "a\nlast");
    await rename(path, `${path}.1`);
    await writeFile(path, "");
    for (const expected of [["a"], [], []]) assert.deepEqual((await read()).lines, expected);
    await appendFile(path, "b\n");
    assert.deepEqual((await read()).lines, ["b", "last"]);
  });

  it("keeps reading a renamed file whose writer never reopens its log", async (test) => {
    const { path, read } = await follow(test, "");
    const writer = await open(path, "a");
    atEnd(test, () => writer.close());
    await rename(path, `${path}.0`);
    await writeFile(path, NOTE);
    assert.equal((await read()).isNotReopened, false);
    for (let count = 0; count < 20; count += 1) {
      // A night without requests is longer than any grace.
      for (let night = 0; night < count; night += 1) assert.deepEqual((await read()).lines, []);
      await writer.write(`${count}\n`);
      const { lines, isNotReopened } = await read();
      assert.deepEqual([lines, isNotReopened], [[String(count)], true]);
    }
  });

  it("keeps the file that is written to, regardless of how many empty files are rotated after it", async (test) => {
    const { path, read } = await follow(test, "");
    const writer = await open(path, "a");
    atEnd(test, () => writer.close());
    await writer.write("first\n");
    assert.deepEqual((await read()).lines, ["first"]);
    for (let count = 0; count < 12; count += 1) {
      await rename(path, `${path}.${count}`);
      await writeFile(path, "");
      await read();
      await read();
      await read();
    }
    await writer.write("last\n");
    assert.deepEqual((await read()).lines, ["last"]);
  });

  it("fails if the proxy writes to a file that was renamed before the start instead of to the log", async (test) => {
    const path = join(await temporaryDirectory(test), "access.log");
    await writeFile(`${path}.0`, "old\n");
    await writeFile(path, "");
    const tail = await openTail({ path });
    atEnd(test, () => tail[Symbol.asyncDispose]());
    await readLines(tail);
    await appendFile(`${path}.0`, "new\n");
    await assert.rejects(readLines(tail), { code: "not_reopened", message: /writes to .*access\.log\.0 and not to/ });
    await appendFile(path, "reopened\n");
    assert.deepEqual((await readLines(tail)).lines, ["reopened"]);
  });

  it("keeps reading a file that gets its old name back", async (test) => {
    const { path, read } = await follow(test, "");
    await appendFile(path, "a\n");
    await read();
    await rename(path, `${path}.1`);
    assert.deepEqual((await read()).lines, []);
    await rename(`${path}.1`, path);
    await appendFile(path, "b\n");
    assert.deepEqual((await read()).lines, ["b"]);
    await appendFile(path, "c\n");
    assert.deepEqual((await read()).lines, ["c"]);
  });

  it("reads a file that was rotated in and out between two reads", async (test) => {
    const { path, read } = await follow(test, "");
    await appendFile(path, "a\n");
    await rename(path, `${path}.1`);
    await writeFile(path, "b\n");
    await rename(`${path}.1`, `${path}.2`);
    await rename(path, `${path}.1`);
    await writeFile(path, "c\n");
    const { lines, rotations } = await read();
    assert.deepEqual([lines, rotations], [["a", "b", "c"], 1]);
  });

  it("tolerates the gap between the rename and the new file", async (test) => {
    const { path, read } = await follow(test, "");
    await appendFile(path, "a\n");
    await rename(path, `${path}.1`);
    assert.deepEqual((await read()).lines, ["a"]);
    await writeFile(path, "b\n");
    assert.deepEqual((await read()).lines, ["b"]);
  });

  it("reports a file that stays missing", async (test) => {
    const { path, read } = await follow(test, "x\n");
    await rm(path);
    await read();
    await assert.rejects(read(), { code: "no_such_file" });
  });
});

describe("a path that is not a regular file for a while", () => {
  const REPLACE = {
    "a directory": (path: string) => mkdir(path),
    "a pipe": async (path: string) => void execFileSync("mkfifo", [path]),
  } as const;

  for (const [what, create] of Object.entries(REPLACE)) {
    it(`is reported while it is ${what}, and its successor is read from its start`, async (test) => {
      const { path, read } = await follow(test, "");
      await appendFile(path, "before\n");
      await rename(path, `${path}.1`);
      await create(path);
      for (let count = 0; count < 4; count += 1) await assert.rejects(read(), { code: "not_a_file" });
      await rm(path, { recursive: true });
      await writeFile(path, "after\n");
      const lines = [...(await read()).lines, ...(await read()).lines];
      assert.deepEqual(lines, ["after"]);
    });
  }

  it("does not keep the collector from starting", async (test) => {
    const path = join(await temporaryDirectory(test), "access.log");
    await mkdir(path);
    const tail = await openTail({ path });
    atEnd(test, () => tail[Symbol.asyncDispose]());
    await assert.rejects(readLines(tail), { code: "not_a_file" });
    await rm(path, { recursive: true });
    await writeFile(path, "first\n");
    assert.deepEqual((await readLines(tail)).lines, ["first"]);
  });
});

describe("truncation", () => {
  it("is detected by a shorter file", async (test) => {
    const { path, read } = await follow(test, "");
    await appendFile(path, "one\ntwo\nhal");
    await read();
    await truncate(path, 0);
    await appendFile(path, "x\n");
    const after = await read();
    assert.deepEqual([after.lines, after.truncations], [["x"], 1]);
  });

  it("is detected by changed bytes, although the file has grown past the read position", async (test) => {
    const { path, read } = await follow(test, "");
    await appendFile(path, "aaaa\n");
    await read();
    await truncate(path, 0);
    await appendFile(path, "bbbb\nbbbb\n");
    const after = await read();
    assert.deepEqual([after.lines, after.truncations], [["bbbb", "bbbb"], 1]);
  });

  it("counts lines that may have been lost, unless the copy of the file contains them", async (test) => {
    const { path, read } = await follow(test, "");
    await appendFile(path, "one\n");
    await read();
    await appendFile(path, "unseen\n");
    await truncate(path, 0);
    await appendFile(path, "two\n");
    const without = await read();
    assert.deepEqual([without.lines, without.lost], [["two"], 1]);
    await appendFile(path, "three\nfour");
    await copyFile(path, `${path}.1`);
    await truncate(path, 0);
    await appendFile(path, "five\n");
    const withCopy = await read();
    assert.deepEqual([withCopy.lines, withCopy.lost, withCopy.truncations], [["three", "five"], 0, 1]);
  });

  for (const [what, size] of [
    ["small", 1_000],
    ["larger than the budget", 40 * BUDGET],
  ] as const)
    it(`leaves a ${what} hole of NUL bytes when the writer keeps its position, and every line after it is read at once`, async (test) => {
      const { path, read } = await follow(test, "");
      const writer = await open(path, "r+");
      atEnd(test, () => writer.close());
      let position = 0;
      const write = async (text: string): Promise<void> => {
        await writer.write(text, position);
        position += Buffer.byteLength(text);
      };
      position = size;
      await write("before\n");
      while ((await read()).unreadBytes > 0);
      await truncate(path, 0);
      for (let count = 0; count < 3; count += 1) {
        await write(`after ${count}\n`);
        assert.deepEqual((await read()).lines, [`after ${count}`]);
      }
    });

  it("is reported by the next read if the read that detected it fails", async (test) => {
    const { path, tail, read } = await follow(test, "", 10);
    await appendFile(path, "one\n");
    await read();
    await truncate(path, 0);
    await appendFile(path, `${"x".repeat(11)}\nok\n`);
    const deadline = new AbortController();
    await assert.rejects(
      tail.read(BUDGET, () => deadline.abort(new Error("too late")), deadline.signal),
      /too late/,
    );
    const { lost, truncations, oversizedLines } = await read();
    assert.deepEqual({ lost, truncations, oversizedLines }, { lost: 1, truncations: 1, oversizedLines: 1 });
  });

  it("ends a line at NUL bytes, as a crash leaves them", async (test) => {
    const { path, read } = await follow(test, "");
    await appendFile(path, `hal${"\0".repeat(300_000)}whole\n\0\0next\n\0`);
    assert.deepEqual((await read()).lines, ["hal", "whole", "next"]);
  });
});

it("a tail emits every line once and in order across writes, reads and rotations", async (test) => {
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant("write" as const), text: fc.stringMatching(/^[a-z\n]{0,12}$/) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("read" as const), budget: fc.integer({ min: 1, max: 40 }) }) },
    { weight: 1, arbitrary: fc.constant({ do: "rotate" as const }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const path = join(await temporaryDirectory(test), "log");
      await writeFile(path, "");
      const tail = await openTail({ path });
      const got: string[] = [];
      const files = [""];
      let number = 0;
      for (const one of steps) {
        if (one.do === "write") {
          await appendFile(path, one.text);
          files.push(`${files.pop()}${one.text}`);
        } else if (one.do === "read") await tail.read(one.budget, (line) => got.push(line), NEVER);
        else {
          // Catch up before each rotation, because two rotations between two reads lose lines.
          await tail.read(BUDGET, (line) => got.push(line), NEVER);
          number += 1;
          await rename(path, `${path}.${number}`);
          await writeFile(path, "");
          files.push("");
        }
      }
      // The writer has moved on to the newest file, so the older ones are complete.
      await appendFile(path, "\nend\n");
      files.push(`${files.pop()}\nend\n`);
      for (let n = 0; n < 4; n++) await tail.read(BUDGET, (line) => got.push(line), NEVER);
      await tail[Symbol.asyncDispose]();
      const whole = files.flatMap((text, index) => {
        const lines = text.split("\n");
        // Text after the last line feed is a line only in a closed file.
        return index < files.length - 1 ? lines : lines.slice(0, -1);
      });
      assert.deepEqual(got.sort(), whole.filter((line) => line !== "").sort());
    }),
    { numRuns: 60 },
  );
});
