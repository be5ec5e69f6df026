import assert from "node:assert/strict";
import { chmod, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { manualClock } from "@aviary/shared/testing/manual-clock.ts";
import { temporaryDirectory } from "@aviary/shared/testing/temporary.ts";
import { purgeableReader } from "../../src/io/purgeable.ts";

const NEVER = new AbortController().signal;

/** A fake osascript, because the real one exists only on macOS: prints `output`, and records its arguments. */
async function setUp(test: TestContext, output: string, exit = 0) {
  const directory = await temporaryDirectory(test);
  const program = join(directory, "osascript");
  const calls = join(directory, "calls");
  await writeFile(program, `#!/bin/sh\necho "$1 $2 $5" >> ${calls}\nprintf '%s\\n' '${output}'\nexit ${exit}\n`);
  await chmod(program, 0o755);
  const clock = manualClock(0);
  return { clock, read: purgeableReader({ clock, program }), calls: () => readFile(calls, "utf8") };
}

describe("purgeable space", () => {
  it("is the capacity available for important usage beyond the free space", async (test) => {
    const { read } = await setUp(test, "500000000000");
    assert.equal(await read("/Users/openclaw", 200_000_000_000, NEVER), 300_000_000_000);
    const { read: full } = await setUp(test, "100");
    assert.equal(await full("/", 200, NEVER), 0);
  });

  it("is read at most once per minute", async (test) => {
    const { clock, read, calls } = await setUp(test, "500");
    for (let second = 0; second < 119; second += 10) {
      assert.equal(await read("/Users/openclaw", 200, NEVER), 300);
      clock.advance(10_000);
    }
    assert.equal(await calls(), "-l JavaScript /Users/openclaw\n".repeat(2));
  });

  it("is unknown, not 0, if the program fails, prints no positive number, or does not exist", async (test) => {
    for (const [output, exit] of [
      ["", 0],
      ["0", 0],
      ["undefined", 0],
      ["-5", 0],
      ["500", 1],
    ] as const) {
      const { read } = await setUp(test, output, exit);
      assert.equal(await read("/", 200, NEVER), undefined, `${output} ${exit}`);
    }
    const clock = manualClock(0);
    assert.equal(await purgeableReader({ clock, program: undefined })("/", 200, NEVER), undefined);
    assert.equal(await purgeableReader({ clock, program: "/absent/osascript" })("/", 200, NEVER), undefined);
  });
});
