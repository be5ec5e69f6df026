import assert from "node:assert/strict";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import { temporaryDirectory } from "@aviary/shared/testing/temporary.ts";
import { disk } from "../../src/probes/disk.ts";
import { openProbe } from "../probe-context.ts";

describe("the disk probe", () => {
  const read = async (test: TestContext, settings: object) =>
    (await openProbe(test, disk, settings).read()).bodies[0] as SignalBody<"disk">;

  it("reads the real volume and removes its probe file", async (test) => {
    const path = await temporaryDirectory(test);
    const body = await read(test, { path });
    assert.ok(body.used_ratio > 0 && body.used_ratio <= 1 && body.total_bytes > 0);
    assert.equal(body.writable, true);
    assert.deepEqual(await readdir(path), []);
  });

  it("derives the tier from a capacity near 1 or 2 TB, unless configured", async (test) => {
    const path = await temporaryDirectory(test);
    const statfsFile = join(path, "statfs.json");
    const at = async (total_bytes: number, more = {}): Promise<string> => {
      await writeFile(statfsFile, JSON.stringify({ total_bytes, used_ratio: 0.79 }));
      return (await read(test, { path, statfsFile, ...more })).tier;
    };
    assert.equal(await at(994_662_584_320), "1TB");
    assert.equal(await at(1_995_218_165_760), "2TB");
    assert.equal(await at(494_384_795_648), "1TB");
    assert.equal(await at(994_662_584_320, { tier: "2TB" }), "2TB");
  });

  it("reports an unwritable volume regardless of its usage", async (test) => {
    const path = await temporaryDirectory(test);
    const statfsFile = join(path, "statfs.json");
    await writeFile(statfsFile, JSON.stringify({ total_bytes: 2e12, used_ratio: 0.5 }));
    // A directory blocks the probe file's name, because permissions do not restrict root.
    await mkdir(join(path, ".aviary-write-probe-mac-a1", "x"), { recursive: true });
    assert.deepEqual(await read(test, { path, statfsFile }), {
      used_ratio: 0.5,
      total_bytes: 2e12,
      tier: "2TB",
      writable: false,
    });
  });

  it("reports purgeable space in addition to the used space, if it is known", async (test) => {
    const path = await temporaryDirectory(test);
    const statfsFile = join(path, "statfs.json");
    const use = { total_bytes: 2e12, used_ratio: 0.86 };
    await writeFile(statfsFile, JSON.stringify({ ...use, purgeable_bytes: 3e11 }));
    const { used_ratio, purgeable_bytes } = await read(test, { path, statfsFile });
    assert.deepEqual([used_ratio, purgeable_bytes], [0.86, 3e11]);
    await writeFile(statfsFile, JSON.stringify(use));
    assert.equal("purgeable_bytes" in (await read(test, { path, statfsFile })), false);
  });

  it("fails on an invalid statfsFile or a missing path", async (test) => {
    const path = await temporaryDirectory(test);
    const statfsFile = join(path, "statfs.json");
    await writeFile(statfsFile, '{"total_bytes": 1, "used_ratio": 1.5}');
    await assert.rejects(read(test, { path, statfsFile }), /used_ratio": 0 to 1/);
    await assert.rejects(read(test, { path: join(path, "absent") }), { code: "ENOENT" });
  });
});
