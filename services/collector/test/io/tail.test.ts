import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { appendFile, mkdir, rename, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { atEnd, temporaryDirectory } from "@aviary/shared/testing/temporary.ts";
import fc from "fast-check";
import { type LogTail, openTail, type TailReport } from "../../src/io/tail.ts";

const NEVER = new AbortController().signal;
const BUDGET = 1024 * 1024;

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
    await appendFile(path, "o\n\nthree\r\n");
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

  it("emits a partial line at the end of the old file", async (test) => {
    const { path, read } = await follow(test, "");
    await appendFile(path, "a\nlast");
    await rename(path, `${path}.1`);
    await writeFile(path, "");
    const lines = [...(await read()).lines, ...(await read()).lines, ...(await read()).lines];
    assert.deepEqual(lines, ["a", "last"]);
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
