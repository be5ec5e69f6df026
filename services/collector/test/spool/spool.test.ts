import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { appendFile, chmod, readdir, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { temporaryDirectory } from "@aviary/shared/testing/temporary.ts";
import fc from "fast-check";
import { decodeSegment, encodeRecord, SEGMENT_MAGIC, type SpoolRecord } from "../../src/spool/record.ts";
import { openSpool, type SegmentDamage, type Spool, type SpoolOptions } from "../../src/spool/spool.ts";

const record = (n: number, size = 20): SpoolRecord => ({ subject: "s", id: `boot.${n}`, data: String(n).padStart(size, "0") });
const records = (from: number, to: number, size?: number): SpoolRecord[] =>
  Array.from({ length: to - from }, (_, index) => record(from + index, size));
const numbers = (list: readonly SpoolRecord[]): number[] => list.map(({ id }) => Number(id.slice(5)));

async function open(test: TestContext, change: Partial<SpoolOptions> = {}): Promise<{ directory: string; spool: Spool }> {
  const directory = change.directory ?? (await temporaryDirectory(test));
  const readVolume = async () => ({ totalBytes: 1e12, usedRatio: 0.5 });
  return { directory, spool: await openSpool({ directory, maxBytes: 2 ** 20, redRatio: 0.9, readVolume, ...change }) };
}

async function drain(spool: Spool): Promise<number[]> {
  const seen: number[] = [];
  for (let head = await spool.head(); head.length > 0; head = await spool.head()) {
    seen.push(...numbers(head));
    await spool.advance(head.length);
  }
  return seen;
}

describe("records", () => {
  it("round-trip, and a torn end or a flipped bit loses only the records from there on", () => {
    const text = fc.string({ unit: "binary", maxLength: 50 });
    const some = fc.array(fc.record({ subject: text, id: text, data: text }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(some, fc.nat(), fc.boolean(), (list, where, flip) => {
        const parts = list.map(encodeRecord);
        const bytes = Buffer.concat([SEGMENT_MAGIC, ...parts]);
        // Lone surrogates have no UTF-8 encoding.
        const whole = list.map((entry) => JSON.parse(JSON.stringify(entry).toWellFormed()) as SpoolRecord);
        assert.deepEqual(decodeSegment(bytes), { records: whole, damagedBytes: 0 });
        const at = SEGMENT_MAGIC.length + (where % (bytes.length - SEGMENT_MAGIC.length));
        if (flip) bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
        const { records: left, damagedBytes } = decodeSegment(flip ? bytes : bytes.subarray(0, at));
        let intact = 0;
        for (let end = SEGMENT_MAGIC.length; intact < parts.length; intact += 1) {
          end += (parts[intact] as Buffer).length;
          if (end > at) break;
        }
        assert.deepEqual(left, whole.slice(0, intact));
        assert.ok(flip ? damagedBytes > 0 : damagedBytes >= 0);
      }),
    );
  });
  it("decode to none from a file that is not a segment", () => {
    assert.deepEqual(decodeSegment(Buffer.from("something else")).records, []);
    assert.deepEqual(decodeSegment(Buffer.alloc(0)), { records: [], damagedBytes: 0 });
  });
});

describe("the spool", () => {
  it("is FIFO across segments, even while records are appended", async (test) => {
    const { spool, directory } = await open(test, { segmentBytes: 200 });
    await spool.append(records(0, 30));
    assert.ok((await readdir(directory)).length > 3);
    const first = await spool.head();
    await spool.append(records(30, 40));
    assert.deepEqual(await spool.head(), first, "appending does not change the head");
    assert.deepEqual(await drain(spool), numbers(records(0, 40)));
    assert.equal(spool.isEmpty, true);
    assert.equal(spool.bytes, 0);
    assert.deepEqual(await readdir(directory), []);
  });

  it("keeps the records of an earlier process in order, and repeats a partly published segment after a crash", async (test) => {
    const { spool, directory } = await open(test, { segmentBytes: 300 });
    await spool.append(records(0, 20));
    const head = await spool.head();
    await spool.advance(2);
    assert.deepEqual(numbers(await spool.head()), numbers(head).slice(2));
    const { spool: next } = await open(test, { directory, segmentBytes: 300 });
    await next.append(records(20, 25));
    assert.deepEqual(await drain(next), numbers(records(0, 25)));
  });

  it("loses only the torn record, and appends to a new segment afterwards", async (test) => {
    const { spool, directory } = await open(test);
    await spool.append(records(0, 5));
    const [name] = await readdir(directory);
    const path = join(directory, name!);
    await truncate(path, (await readFile(path)).length - 3);
    const { spool: next } = await open(test, { directory });
    await next.append(records(5, 7));
    assert.deepEqual(await drain(next), [0, 1, 2, 3, 5, 6]);
    assert.equal(next.counts.damaged, 1);
  });

  it("reports damage with the segment, and the records kept and lost", async (test) => {
    const { spool, directory } = await open(test);
    await spool.append(records(0, 5));
    const [name] = await readdir(directory);
    await appendFile(join(directory, name!), Buffer.from([0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4, 5, 6, 7]));
    const damages: SegmentDamage[] = [];
    const { spool: next } = await open(test, { directory, onDamage: (damage) => void damages.push(damage) });
    assert.deepEqual(await drain(next), [0, 1, 2, 3, 4]);
    assert.deepEqual(damages, [{ path: join(directory, name!), records: 5, damagedBytes: 11 }]);
  });

  it("reports the directory that cannot be created, and why", async (test) => {
    const directory = await temporaryDirectory(test);
    await writeFile(join(directory, "file"), "");
    await assert.rejects(open(test, { directory: join(directory, "file", "spool") }), {
      code: "disk_unwritable",
      message: /^cannot open the spool: ENOTDIR: .*file\/spool'$/,
    });
    // Node's recursive mkdir would not return.
    if (existsSync("/proc/self"))
      await assert.rejects(open(test, { directory: "/proc/aviary/spool" }), { message: /ENOENT: .* mkdir '\/proc\/aviary'$/ });
    const { spool } = await open(test, { directory: join(directory, "a", "b", "c") });
    await spool.append(records(0, 1));
    assert.deepEqual(await drain(spool), [0]);
  });

  it("skips empty and foreign segments, and does not touch other files", async (test) => {
    const { directory } = await open(test);
    await writeFile(join(directory, "0000000001.seg"), "");
    await writeFile(join(directory, "0000000002.seg"), "rubbish");
    await writeFile(join(directory, "notes.txt"), "mine");
    const { spool } = await open(test, { directory });
    await spool.append(records(0, 1));
    assert.deepEqual(await drain(spool), [0]);
    assert.deepEqual(await readdir(directory), ["notes.txt"]);
  });

  it("drops and counts the oldest records at the cap, and never exceeds it", async (test) => {
    const { spool, directory } = await open(test, { maxBytes: 4_096, segmentBytes: 512 });
    for (let n = 0; n < 200; n++) {
      await spool.append([record(n, 50)]);
      assert.ok(spool.bytes <= 4_096);
    }
    const sizes = await Promise.all(
      (await readdir(directory)).map(async (name) => (await readFile(join(directory, name))).length),
    );
    assert.equal(
      sizes.reduce((sum, size) => sum + size, 0),
      spool.bytes,
    );
    const left = await drain(spool);
    assert.deepEqual(left, numbers(records(200 - left.length, 200)));
    assert.equal(spool.counts.dropped, 200 - left.length);
  });

  it("may drop the head at the cap while it is being published", async (test) => {
    const { spool } = await open(test, { maxBytes: 2_048, segmentBytes: 512 });
    await spool.append(records(0, 10, 50));
    await spool.head();
    await spool.advance(1);
    await spool.append(records(10, 60, 50));
    const left = await drain(spool);
    assert.equal(left.at(-1), 59);
    assert.equal(left.length + spool.counts.dropped, 59, "the published record is not counted as dropped");
  });

  it("writes nothing at the red mark, and resumes below it", async (test) => {
    let usedRatio = 0.9;
    const { spool } = await open(test, { readVolume: async () => ({ totalBytes: 1, usedRatio }) });
    await assert.rejects(spool.append(records(0, 1)), { code: "disk_red", name: "Retryable" });
    assert.equal(spool.isEmpty, true);
    usedRatio = 0.89;
    await spool.append(records(0, 1));
    assert.deepEqual(await drain(spool), [0]);
  });

  it("reports a disk error as retryable, and appends in order afterwards", async (test) => {
    const { spool, directory } = await open(test);
    await spool.append(records(0, 2));
    // A directory blocks the next segment's name, because permissions do not restrict root.
    const { spool: next } = await open(test, { directory });
    const { mkdir, rmdir } = await import("node:fs/promises");
    await mkdir(join(directory, "0000000002.seg"));
    await assert.rejects(next.append(records(2, 3)), { code: "disk_unwritable", name: "Retryable" });
    await rmdir(join(directory, "0000000002.seg"));
    await next.append(records(2, 4));
    assert.deepEqual(await drain(next), [0, 1, 2, 3]);
  });

  it("fails to open if its directory cannot be created", async (test) => {
    const parent = await temporaryDirectory(test);
    await writeFile(join(parent, "file"), "");
    await assert.rejects(open(test, { directory: join(parent, "file", "spool") }), { code: "disk_unwritable" });
  });

  it("has every record on disk when append returns", async (test) => {
    const { spool, directory } = await open(test);
    await spool.append(records(0, 3));
    const [name] = await readdir(directory);
    await appendFile(join(directory, name!), Buffer.from([9, 9]));
    await chmod(join(directory, name!), 0o600);
    const { spool: next } = await open(test, { directory });
    assert.deepEqual(await drain(next), [0, 1, 2]);
  });
});
