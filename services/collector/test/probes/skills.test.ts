import assert from "node:assert/strict";
import { mkdir, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import { hashTree } from "@aviary/shared/fs/tree-hash.ts";
import { temporaryDirectory } from "@aviary/shared/testing/temporary.ts";
import { skills } from "../../src/probes/skills.ts";
import { openProbe, probeContext } from "../probe-context.ts";

describe("the skills probe", () => {
  it("reports the hash that a promotion verified, even through a link, and the changed skills", async (test) => {
    const place = await temporaryDirectory(test);
    const release = async (name: string, text: string): Promise<string> => {
      await mkdir(join(place, name, "mail"), { recursive: true });
      await writeFile(join(place, name, "mail", "SKILL.md"), text);
      return (await hashTree(join(place, name))).hash;
    };
    const [one, two] = [await release("one", "1"), await release("two", "2")];
    await symlink("one", join(place, "current"));
    const probe = openProbe(test, skills, { roots: { managed: join(place, "current") } });
    const first = await probe.read();
    assert.deepEqual(first.bodies, [{ pack_hash: one, count: 1, changed: [] }]);
    assert.deepEqual(first.learned, { skillHash: one });
    await rm(join(place, "current"));
    await symlink("two", join(place, "current"));
    assert.deepEqual((await probe.read()).bodies, [{ pack_hash: two, count: 1, changed: ["mail"] }]);
  });

  it("rehashes every file hourly, even with unchanged metadata", async (test) => {
    const place = await temporaryDirectory(test);
    const context = probeContext(test);
    let nowMs = 0;
    const probe = openProbe(
      test,
      skills,
      { roots: { a: place } },
      { ...context, clock: { ...context.clock, monotonicMs: () => nowMs } },
    );
    const path = join(place, "x");
    await writeFile(path, "aaaa");
    await utimes(path, 1_000, 1_000);
    const hash = async (): Promise<string> => ((await probe.read()).bodies[0] as SignalBody<"skills">).pack_hash;
    const before = await hash();
    await writeFile(path, "bbbb");
    await utimes(path, 1_000, 1_000);
    assert.equal(await hash(), before, "time, size and inode are unchanged");
    nowMs += 3_600_000;
    assert.notEqual(await hash(), before);
  });

  it("fails with the reason for a tree that cannot be hashed", async (test) => {
    const place = await temporaryDirectory(test);
    await symlink("/etc", join(place, "x"));
    await assert.rejects(openProbe(test, skills, { roots: { a: place } }).read(), /absolute path/);
  });
});
