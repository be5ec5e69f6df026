/** The files of this repository, with paths relative to the root and `/` as separator. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../..");

/** Directories outside the project: installed, generated, or written by a run. */
const SKIPPED = new Set(["node_modules", ".git", ".aviary", ".turbo", "dist"]);

/** All files below `under` (a directory relative to the root), sorted; empty if the directory does not exist. */
export function filesUnder(under = ""): string[] {
  const out: string[] = [];
  const walk = (directory: string): void => {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      if (SKIPPED.has(entry.name) || entry.name.startsWith("tmp.")) continue;
      const path = join(directory, entry.name);
      if (entry.isDirectory()) walk(path);
      else if (entry.isFile()) out.push(relative(ROOT, path).split(sep).join("/"));
    }
  };
  if (existsSync(join(ROOT, under))) walk(join(ROOT, under));
  return out.sort();
}

/** The content of a file, by its path relative to the root. */
export function readText(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

/** Whether a file or directory exists at this path, relative to the root. */
export function exists(path: string): boolean {
  return existsSync(join(ROOT, path));
}

const CODE_PLACES = ["libs", "services", "cli", "examples", "tools", "scripts", "test"];

/** All code: TypeScript, and the JavaScript that runs before TypeScript can. */
export function codeFiles(): string[] {
  return CODE_PLACES.flatMap((place) => filesUnder(place)).filter((path) => /\.(ts|mjs)$/.test(path) && !path.endsWith(".d.ts"));
}

/** Whether this file is shipped code, as opposed to tests and benchmarks. */
export function isProduct(path: string): boolean {
  return (
    /^(libs\/[^/]+|services\/[^/]+|cli|examples\/[^/]+)\/(src|bin)\//.test(path) && !path.startsWith("libs/shared/src/testing/")
  );
}
