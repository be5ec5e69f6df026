/** Environment variables: what code reads is documented, and what is documented is read. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { codeFiles, isProduct, readText } from "./tree.ts";

const VARIABLE = /\bAVIARY_[A-Z0-9_]*[A-Z0-9]\b/g;

/** Variables that code names, each with the first file that does. */
function named(paths: readonly string[]): Map<string, string> {
  const found = new Map<string, string>();
  for (const path of paths) for (const [name] of readText(path).matchAll(VARIABLE)) if (!found.has(name)) found.set(name, path);
  return found;
}

const read = named(codeFiles().filter((path) => isProduct(path) || path.startsWith("scripts/") || path.startsWith("bench/")));
const documented = named(["docs/configuration.md"]);

describe("environment variables", () => {
  it("that code reads are in docs/configuration.md", () => {
    const missing = [...read].filter(([name]) => !documented.has(name)).map(([name, path]) => `${name} (${path})`);
    assert.deepEqual(missing, [], "a variable that is in no document is a variable that nobody can set");
  });

  it("that docs/configuration.md names are read", () => {
    const idle = [...documented.keys()].filter((name) => !read.has(name));
    assert.deepEqual(idle, [], "a variable that nothing reads is set in vain");
  });
});
