/** The files of this repository, as the house rules see them: paths relative to the root, with `/`. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../..");

/** Never part of the project: installed, generated, or kept by a run. */
const SKIPPED = new Set(["node_modules", ".git", ".aviary", ".turbo", "dist"]);

/** Every file below `under` (a directory relative to the root), sorted; nothing when the directory is absent. */
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

/** The text of a file given relative to the root. */
export function readText(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

/** Is there a file or directory at this path, relative to the root? */
export function exists(path: string): boolean {
  return existsSync(join(ROOT, path));
}

const CODE_PLACES = ["libs", "services", "cli", "examples", "tools", "scripts", "test"];

/** All code: TypeScript, and the JavaScript that has to run before TypeScript can. */
export function codeFiles(): string[] {
  return CODE_PLACES.flatMap((place) => filesUnder(place)).filter((path) => /\.(ts|mjs)$/.test(path) && !path.endsWith(".d.ts"));
}

/** Is this file shipped code, and not a test or a benchmark of it? */
export function isProduct(path: string): boolean {
  return (
    /^(libs\/[^/]+|services\/[^/]+|cli|examples\/[^/]+)\/(src|bin)\//.test(path) && !path.startsWith("libs/shared/src/testing/")
  );
}
