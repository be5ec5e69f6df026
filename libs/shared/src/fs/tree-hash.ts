/**
 * The hash of a directory tree: one function for the collector and the promoter, so that a hash verified by a promotion equals
 * the hash in the gateway's signals.
 *
 * SHA-256 over lines, sorted by code unit, each ending in a line feed:
 *
 *     f <path> <sha256>     a file             x <path> <sha256>     an executable file (the owner's bit)
 *     l <path> <target>     a symbolic link    d <path>              an empty directory
 *
 * Paths are relative, with `/`. Owners, times and the other permission bits are ignored, because they differ between machines.
 * Excluded at any depth: `.openclaw/`, `.clawhub/`, `.clawdhub/` (installation records of skills), `.DS_Store` and `._*` (macOS
 * Finder metadata). A directory with no other content is empty.
 *
 * Rejected, each with its path and a reason: entries that may differ on another machine (names that are not NFC, which some file
 * systems normalize; names with control characters; links that are absolute or leave the tree; devices, sockets and pipes), and
 * entries that make lines ambiguous (a link with a space in its path).
 */
import { createHash } from "node:crypto";
import { createReadStream, type Stats } from "node:fs";
import { lstat, readdir, readlink, realpath } from "node:fs/promises";
import { join } from "node:path";
import { hashLines } from "../contract/ids.ts";

/** The entries found by a walk; `path` is relative to the root. Directories only if they are empty. */
export type TreeEntry =
  | { readonly type: "file"; readonly path: string; readonly executable: boolean; readonly sha256: string }
  | { readonly type: "link"; readonly path: string; readonly target: string }
  | { readonly type: "directory"; readonly path: string }
  | { readonly type: "other"; readonly path: string };

export type TreeRejectionCode =
  | "name_not_nfc"
  | "name_unreadable"
  | "name_control"
  | "link_absolute"
  | "link_escapes"
  | "link_spaced"
  | "not_a_file";

export interface TreeRejection {
  readonly path: string;
  readonly code: TreeRejectionCode;
  /** The problem and its fix, in one sentence. */
  readonly text: string;
}

export interface HashedTree {
  /** 64 lower-case hex digits. */
  readonly hash: string;
  /** The hashed lines, sorted, without line feeds. */
  readonly lines: readonly string[];
}

export type TreeResult =
  | ({ readonly ok: true } & HashedTree)
  | { readonly ok: false; readonly rejections: readonly TreeRejection[] };

/** The tree contains entries that cannot be hashed; the error lists all of them. */
export class TreeRejected extends Error {
  override readonly name = "TreeRefused";
  readonly rejections: readonly TreeRejection[];
  constructor(root: string, rejections: readonly TreeRejection[]) {
    const shown = rejections.slice(0, 10).map((rejection) => `${JSON.stringify(rejection.path)}: ${rejection.text}`);
    const more = rejections.length > 10 ? [`and ${rejections.length - 10} more`] : [];
    super(`${root} cannot be hashed: ${[...shown, ...more].join("; ")}`);
    this.rejections = rejections;
  }
}

const IGNORED_DIRECTORIES: ReadonlySet<string> = new Set([".openclaw", ".clawhub", ".clawdhub"]);

/** Whether a name is excluded from the hash and from promotions. */
export function isIgnoredName(name: string, isDirectory: boolean): boolean {
  return name === ".DS_Store" || name.startsWith("._") || (isDirectory && IGNORED_DIRECTORIES.has(name));
}

/** The hash of the entries of a tree, in any order, or all problems with them. Pure. */
export function treeHash(entries: Iterable<TreeEntry>): TreeResult {
  const lines: string[] = [];
  const rejections: TreeRejection[] = [];
  for (const entry of entries) {
    const rejection = rejectionOf(entry);
    if (rejection === undefined) lines.push(lineOf(entry));
    else rejections.push({ path: entry.path, ...rejection });
  }
  if (rejections.length > 0) return { ok: false, rejections };
  lines.sort();
  return { ok: true, hash: hashLines(lines), lines };
}

function lineOf(entry: TreeEntry): string {
  switch (entry.type) {
    case "file":
      return `${entry.executable ? "x" : "f"} ${entry.path} ${entry.sha256}`;
    case "link":
      return `l ${entry.path} ${entry.target}`;
    default:
      return `d ${entry.path}`;
  }
}

type RejectionReason = Omit<TreeRejection, "path">;

function rejectionOf(entry: TreeEntry): RejectionReason | undefined {
  const name = nameRejection(entry.path) ?? (entry.type === "link" ? nameRejection(entry.target) : undefined);
  if (name !== undefined) return name;
  if (entry.type === "link") return linkRejection(entry.path, entry.target);
  if (entry.type !== "other") return undefined;
  return { code: "not_a_file", text: "not a file, directory or symbolic link; remove it" };
}

function nameRejection(text: string): RejectionReason | undefined {
  if (text.includes("\u{FFFD}")) return { code: "name_unreadable", text: "the name is not valid UTF-8; rename it" };
  if (/[\u{0}-\u{1f}\u{7f}]/u.test(text))
    return { code: "name_control", text: "the name contains a control character; rename it" };
  if (text !== text.normalize("NFC")) return { code: "name_not_nfc", text: "the name is not in Unicode form NFC; rename it" };
  return undefined;
}

/**
 * A target may climb only with leading `..`, because the parent directories of a link are real directories. A `..` after a name
 * could pass through another link and end elsewhere.
 */
function linkRejection(path: string, target: string): RejectionReason | undefined {
  if (path.includes(" ")) return { code: "link_spaced", text: "a link must not have a space in its path; rename it" };
  if (target.startsWith("/")) return { code: "link_absolute", text: `points to the absolute path ${target}; make it relative` };
  const steps = target.split("/").filter((step) => step !== "" && step !== ".");
  const climbs = steps.findIndex((step) => step !== "..");
  const leading = climbs === -1 ? steps.length : climbs;
  const depth = path.split("/").length - 1;
  if (leading > depth || steps.slice(leading).includes(".."))
    return {
      code: "link_escapes",
      text: `points to ${target}, which may leave the tree; use \`..\` only at the start, and stay inside`,
    };
  return undefined;
}

/** Caches file hashes by path, modification time, size and inode. Clear it to hash every file again. */
export type TreeHashCache = Map<string, { readonly stamp: string; readonly sha256: string }>;

export interface HashTreeOptions {
  readonly cache?: TreeHashCache;
  readonly signal?: AbortSignal;
  /** The maximum number of entries, 200,000 by default; more raise a RangeError. */
  readonly maxEntries?: number;
}

/**
 * Hashes the tree below `root` on disk. `root` itself may be a link (to a release directory); it is resolved once, so that
 * switching it meanwhile does not mix two trees.
 * @throws TreeRejected with everything that is not allowed in a tree; the file system's error for unreadable entries; RangeError
 * for too many entries; the signal's reason.
 */
export async function hashTree(root: string, options: HashTreeOptions = {}): Promise<HashedTree> {
  const entries: TreeEntry[] = [];
  const seen = new Set<string>();
  const base = await realpath(root);
  await walk(base, "", entries, seen, options);
  // Removes cache entries of files that no longer exist.
  if (options.cache !== undefined)
    for (const path of options.cache.keys()) if (path.startsWith(`${base}/`) && !seen.has(path)) options.cache.delete(path);
  const result = treeHash(entries);
  if (!result.ok) throw new TreeRejected(root, result.rejections);
  return result;
}

/** Adds the entries below `base/relative`; returns the number of entries that are not excluded. */
async function walk(
  base: string,
  relative: string,
  entries: TreeEntry[],
  seen: Set<string>,
  options: HashTreeOptions,
): Promise<number> {
  options.signal?.throwIfAborted();
  const found = await readdir(join(base, relative), { withFileTypes: true });
  const counted = found.filter((child) => !isIgnoredName(child.name, child.isDirectory()));
  for (const child of counted) {
    const path = relative === "" ? child.name : `${relative}/${child.name}`;
    if (child.isDirectory() && nameRejection(child.name) === undefined) {
      if ((await walk(base, path, entries, seen, options)) === 0) entries.push({ type: "directory", path });
    } else {
      entries.push(await readEntry(base, path, seen, options));
    }
    if (entries.length > (options.maxEntries ?? 200_000))
      throw new RangeError(`${base} contains more than ${options.maxEntries ?? 200_000} entries`);
  }
  return counted.length;
}

async function readEntry(base: string, path: string, seen: Set<string>, options: HashTreeOptions): Promise<TreeEntry> {
  // Such a name is rejected anyway, and the file may be inaccessible under it.
  if (nameRejection(path) !== undefined) return { type: "other", path };
  const full = join(base, path);
  const stats = await lstat(full);
  if (stats.isSymbolicLink()) return { type: "link", path, target: await readlink(full) };
  if (!stats.isFile()) return { type: "other", path };
  seen.add(full);
  return { type: "file", path, executable: (stats.mode & 0o100) !== 0, sha256: await fileHash(full, stats, options) };
}

async function fileHash(full: string, stats: Stats, options: HashTreeOptions): Promise<string> {
  const stamp = `${stats.mtimeMs}-${stats.size}-${stats.ino}`;
  const known = options.cache?.get(full);
  if (known?.stamp === stamp) return known.sha256;
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(full, options.signal === undefined ? {} : { signal: options.signal }))
    hash.update(chunk as Buffer);
  const sha256 = hash.digest("hex");
  options.cache?.set(full, { stamp, sha256 });
  return sha256;
}
