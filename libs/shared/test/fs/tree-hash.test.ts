import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, rename, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, describe, it } from "node:test";
import fc from "fast-check";
import { sha256Hex } from "../../src/contract/ids.ts";
import { hashTree, type TreeEntry, type TreeHashCache, TreeRejected, treeHash } from "../../src/fs/tree-hash.ts";

const made: string[] = [];
afterEach(async () => {
  for (const path of made.splice(0)) await rm(path, { recursive: true, force: true });
});

/** A directory with these files (content), links (`->target`) and empty directories (name ending in `/`). */
async function tree(content: Readonly<Record<string, string>>): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), "tree-hash-"));
  made.push(root);
  for (const [path, text] of Object.entries(content)) {
    const full = join(root, path);
    await mkdir(path.endsWith("/") ? full : dirname(full), { recursive: true });
    if (path.endsWith("/")) continue;
    if (text.startsWith("->")) await symlink(text.slice(2), full);
    else await writeFile(full, text);
  }
  return root;
}

const hashOf = async (content: Readonly<Record<string, string>>): Promise<string> => (await hashTree(await tree(content))).hash;

async function rejectionsOf(content: Readonly<Record<string, string>>): Promise<string[]> {
  const root = await tree(content);
  try {
    await hashTree(root);
  } catch (error) {
    assert.ok(error instanceof TreeRejected, String(error));
    return error.rejections.map((rejection) => `${rejection.code} ${rejection.path}`);
  }
  return [];
}

const sha = (text: string): string => sha256Hex(text);

describe("the format", () => {
  it("hashes sorted lines: files, executables, links, empty directories", async () => {
    const root = await tree({ "b.md": "two", "a/run.sh": "echo", "a/link": "->../b.md", "empty/": "" });
    await chmod(join(root, "a/run.sh"), 0o755);
    const { hash, lines } = await hashTree(root);
    assert.deepEqual(lines, ["d empty", `f b.md ${sha("two")}`, "l a/link ../b.md", `x a/run.sh ${sha("echo")}`]);
    assert.equal(hash, sha(`${lines.join("\n")}\n`));
  });

  it("sorts by code unit, independent of the locale", async () => {
    const { lines } = await hashTree(await tree({ é: "", Z: "", a: "", _: "" }));
    assert.deepEqual(
      lines.map((line) => line.split(" ")[1]),
      ["Z", "_", "a", "é"],
    );
  });

  it("hashes an empty tree as the empty string", async () => {
    assert.equal(await hashOf({}), sha(""));
  });

  it("does not depend on the order of the entries", () => {
    const entries: TreeEntry[] = [
      { type: "file", path: "a", executable: false, sha256: sha("a") },
      { type: "link", path: "b/c", target: "../a" },
      { type: "directory", path: "d" },
      { type: "file", path: "e f", executable: true, sha256: sha("e") },
    ];
    fc.assert(
      fc.property(fc.shuffledSubarray(entries, { minLength: entries.length }), (shuffled) => {
        assert.deepEqual(treeHash(shuffled), treeHash(entries));
      }),
    );
  });
});

describe("the hashed content", () => {
  it("content, name, executable bit and link target each change the hash; time does not", async () => {
    const base = await hashOf({ a: "1", l: "->a" });
    assert.equal(await hashOf({ a: "1", l: "->a" }), base);
    assert.notEqual(await hashOf({ a: "2", l: "->a" }), base);
    assert.notEqual(await hashOf({ b: "1", l: "->b" }), base);
    assert.notEqual(await hashOf({ a: "1", l: "->./a" }), base);
    assert.notEqual(await hashOf({ a: "1", l: "->a", "d/": "" }), base);
    const root = await tree({ a: "1", l: "->a" });
    await utimes(join(root, "a"), 1, 1);
    assert.equal((await hashTree(root)).hash, base);
    await chmod(join(root, "a"), 0o744);
    assert.notEqual((await hashTree(root)).hash, base);
  });

  it("excludes installation records and Finder metadata at any depth", async () => {
    const base = await hashOf({ "skill/SKILL.md": "x", "bare/": "" });
    const noisy = await hashOf({
      "skill/SKILL.md": "x",
      "bare/.DS_Store": "x",
      ".openclaw/a": "1",
      "skill/.openclaw/source-origin.json": "installedAt",
      "skill/.clawhub/origin.json": "{}",
      ".clawdhub/lock.json": "{}",
      ".DS_Store": "x",
      "skill/._SKILL.md": "x",
    });
    assert.equal(noisy, base);
    assert.notEqual(await hashOf({ "skill/SKILL.md": "x", "bare/": "", ".openclaw": "a file, not the directory" }), base);
  });

  it("follows a root that is a link, and names it in errors", async () => {
    const release = await tree({ a: "1" });
    const place = await tree({});
    await symlink(release, join(place, "current"));
    assert.equal((await hashTree(join(place, "current"))).hash, (await hashTree(release)).hash);
    await assert.rejects(hashTree(join(place, "absent")), { code: "ENOENT" });
  });
});

describe("hashTree", () => {
  it("rejects links that leave the tree, and lists all of them", async () => {
    const rejected = await rejectionsOf({
      a: "1",
      abs: "->/etc/passwd",
      out: "->../x",
      "d/out": "->../../x",
      "d/in": "->../a",
      trick: "->d/../../x",
    });
    assert.deepEqual(rejected.sort(), ["link_absolute abs", "link_escapes d/out", "link_escapes out", "link_escapes trick"]);
  });

  it("rejects a .. that passes through another link", async () => {
    assert.deepEqual(await rejectionsOf({ self: "->.", out: "->self/../secret", "d/ok": "->../self" }), ["link_escapes out"]);
  });

  it("rejects names and link targets that are not NFC", async () => {
    const decomposed = "e\u0301";
    assert.deepEqual(await rejectionsOf({ [`d/${decomposed}`]: "1" }), [`name_not_nfc d/${decomposed}`]);
    assert.deepEqual(await rejectionsOf({ [`${decomposed}/x`]: "1" }), [`name_not_nfc ${decomposed}`]);
    assert.deepEqual(await rejectionsOf({ l: `->${decomposed}` }), ["name_not_nfc l"]);
    assert.deepEqual(await rejectionsOf({ é: "1" }), []);
  });

  it("rejects names with line breaks and links with spaces, which could forge a line", async () => {
    assert.deepEqual(await rejectionsOf({ "a\nf b": "1" }), ["name_control a\nf b"]);
    assert.deepEqual(await rejectionsOf({ "a b": "->c", "c d": "1" }), ["link_spaced a b"]);
  });

  it("rejects pipes", async () => {
    const root = await tree({ a: "1" });
    assert.equal(spawnSync("mkfifo", [join(root, "pipe")]).status, 0);
    await assert.rejects(hashTree(root), (error) => error instanceof TreeRejected && error.rejections[0]?.code === "not_a_file");
  });

  it("rejects trees with too many entries", async () => {
    await assert.rejects(hashTree(await tree({ a: "", b: "", c: "" }), { maxEntries: 2 }), RangeError);
  });

  it("stops when its signal aborts", async () => {
    const stopped = AbortSignal.abort(new Error("stopped"));
    await assert.rejects(hashTree(await tree({ a: "" }), { signal: stopped }), /stopped/);
  });
});

describe("the cache", () => {
  it("is used while time, size and inode match, and drops removed files", async () => {
    const cache: TreeHashCache = new Map();
    const root = await tree({ a: "one", b: "two" });
    const first = await hashTree(root, { cache });
    assert.equal(cache.size, 2);
    const path = [...cache.keys()].find((key) => key.endsWith("/a"))!;
    const entry = cache.get(path)!;
    cache.set(path, { ...entry, sha256: "0".repeat(64) });
    assert.notEqual((await hashTree(root, { cache })).hash, first.hash, "the cached value was not used");
    cache.set(path, entry);
    await writeFile(join(root, "a"), "longer");
    assert.notEqual((await hashTree(root, { cache })).hash, first.hash);
    await rename(join(root, "a"), join(root, "c"));
    await hashTree(root, { cache });
    assert.deepEqual([...cache.keys()].map((key) => key.slice(-1)).sort(), ["b", "c"]);
  });
});
