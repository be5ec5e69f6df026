import assert from "node:assert/strict";
import { mkdtemp, rename, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { createLogger } from "@aviary/shared/runtime/logger.ts";
import { type ManualClock, manualClock } from "@aviary/shared/testing/manual-clock.ts";
import { followTokenFile, readTokenFile, type TokenFile } from "../../src/auth/token-file.ts";
import { hashToken, isRejection } from "../../src/auth/tokens.ts";

let folder: string;
let path: string;
let clock: ManualClock;
let lines: string[];
let opened: TokenFile | undefined;
let writes: number;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "aviary-tokens-"));
  path = join(folder, "tokens.yaml");
  clock = manualClock();
  lines = [];
  writes = 0;
});
afterEach(async () => {
  opened?.[Symbol.dispose]();
  opened = undefined;
  await rm(folder, { recursive: true, force: true });
});

/** Replaces the file as an editor or a kubelet does, with the manual clock's time on it. */
async function put(text: string): Promise<void> {
  writes += 1;
  await writeFile(`${path}.new`, text);
  const at = clock.now() / 1000 + writes / 1000;
  await utimes(`${path}.new`, at, at);
  await rename(`${path}.new`, path);
}
const line = (token: string, notAfter?: number): string =>
  `- { id: flagger, sha256: ${hashToken(token)}, caller: flagger${notAfter === undefined ? "" : `, notAfter: "${new Date(notAfter).toISOString()}"`} }\n`;

async function open(): Promise<TokenFile> {
  const log = createLogger({ service: "test", clock, write: (text) => lines.push(text) });
  opened = followTokenFile({ content: await readTokenFile(path, clock.now()), clock, log, intervalMs: 60_000 });
  return opened;
}
const accepts = (file: TokenFile, token: string): boolean =>
  !isRejection(file.authenticate({ headers: { authorization: `Bearer ${token}` } }));

/** One poll of the file, as the timer would start it. */
async function tick(file: TokenFile): Promise<void> {
  clock.advance(2_000);
  await file.refresh();
}

describe("a token file that changes", () => {
  it("is reloaded: a rotation accepts both tokens, then only the new one", async () => {
    await put(line("old"));
    const file = await open();
    assert.deepEqual([accepts(file, "old"), accepts(file, "new")], [true, false]);
    const end = clock.now() + 7 * 86_400_000;
    await put(line("old", end) + line("new"));
    await tick(file);
    assert.deepEqual([accepts(file, "old"), accepts(file, "new")], [true, true]);
    clock.advance(end - clock.now());
    assert.deepEqual([accepts(file, "old"), accepts(file, "new")], [false, true]);
  });

  it("that lists no token is applied, with a warning", async () => {
    await put(line("old"));
    const file = await open();
    const warnings = (): number => lines.filter((entry) => entry.includes('"event":"tokens.none"')).length;
    assert.equal(warnings(), 0);
    await put("[]\n");
    await tick(file);
    assert.equal(accepts(file, "old"), false);
    assert.equal(warnings(), 1, lines.join(""));
  });

  it("rejects no request during a rotation", async () => {
    await put(line("old"));
    const file = await open();
    let rejected = 0;
    for (let index = 0; index < 10_000; index += 1) {
      if (index === 3_000) {
        await put(line("old", clock.now() + 7 * 86_400_000) + line("new"));
        await tick(file);
      }
      if (!accepts(file, index < 6_000 ? "old" : "new")) rejected += 1;
    }
    assert.equal(rejected, 0);
  });

  it("a removed token is rejected after the next poll, at most 2 s later", async () => {
    await put(line("leaked") + line("other", clock.now() + 86_400_000));
    const file = await open();
    assert.equal(accepts(file, "leaked"), true);
    await put(line("other", clock.now() + 86_400_000));
    await tick(file);
    assert.equal(accepts(file, "leaked"), false);
  });

  it("that is invalid, missing or breaks the overlap rule changes nothing, logs one error, and recovers", async () => {
    await put(line("old"));
    const file = await open();
    assert.equal(file.problem(), undefined);
    const wrong = ["- { id: flagger", line("old", clock.now() + 60_000) + line("new"), "- { id: flagger, sha: 1 }"];
    for (const text of wrong) {
      lines.length = 0;
      await put(text);
      await tick(file);
      await tick(file);
      assert.deepEqual([accepts(file, "old"), accepts(file, "new")], [true, false]);
      assert.match(file.problem() ?? "", /tokens\.yaml/);
      assert.equal(lines.filter((entry) => entry.includes('"level":"error"')).length, 1, lines.join(""));
    }
    await rm(path);
    await tick(file);
    assert.match(file.problem() ?? "", /token file .* not found/);
    assert.equal(accepts(file, "old"), true);
    await put(line("new"));
    await tick(file);
    assert.equal(file.problem(), undefined);
    assert.deepEqual([accepts(file, "old"), accepts(file, "new")], [false, true]);
  });

  it("must be valid at the start", async () => {
    await assert.rejects(open(), /token file .* not found/);
    await put(line("a") + line("b"));
    await assert.rejects(open(), /without an end/);
  });

  it("is no longer polled once disposed", async () => {
    await put(line("old"));
    const file = await open();
    assert.equal(clock.timers, 1);
    file[Symbol.dispose]();
    assert.equal(clock.timers, 0);
  });
});
