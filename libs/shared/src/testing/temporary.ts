/** Clean-up of test resources in reverse order of creation. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";

const undosByTest = new WeakMap<TestContext, (() => unknown)[]>();

/** Calls `undo` after the test, in reverse order of registration. */
export function atEnd(test: TestContext, undo: () => unknown): void {
  const registered = undosByTest.get(test);
  if (registered !== undefined) {
    registered.push(undo);
    return;
  }
  const list = [undo];
  undosByTest.set(test, list);
  test.after(async () => {
    for (const callback of list.reverse()) await callback();
  });
}

export async function temporaryDirectory(test: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "aviary-test-"));
  atEnd(test, () => rm(directory, { recursive: true, force: true }));
  return directory;
}
