/** Resources of a test, released when it ends, newest first. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";

const undone = new WeakMap<TestContext, (() => unknown)[]>();

/** Calls `undo` when the test ends; the most recent registration is called first. */
export function atEnd(test: TestContext, undo: () => unknown): void {
  const known = undone.get(test);
  if (known !== undefined) {
    known.push(undo);
    return;
  }
  const list = [undo];
  undone.set(test, list);
  test.after(async () => {
    for (const one of list.reverse()) await one();
  });
}

export async function temporaryDirectory(test: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "aviary-collector-"));
  atEnd(test, () => rm(directory, { recursive: true, force: true }));
  return directory;
}
