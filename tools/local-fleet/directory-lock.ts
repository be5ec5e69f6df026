/** One local fleet per directory: two would write the same streams. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const LOCK_FILE = "starter.pid";

/**
 * Locks the directory, creating it if necessary. @returns a function that releases the lock. @throws Error if a running process
 * holds it
 */
export function lockDirectory(directory: string): () => void {
  mkdirSync(directory, { recursive: true });
  const file = join(directory, LOCK_FILE);
  for (;;) {
    try {
      writeFileSync(file, `${process.pid}\n`, { flag: "wx" });
      return () => rmSync(file, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const owner = Number.parseInt(readFileSync(file, "utf8"), 10);
    if (isAlive(owner))
      throw new Error(
        `a local fleet is already running here (process ${owner}): stop it with Ctrl-C, or delete ${file} if that process is not Aviary`,
      );
    rmSync(file, { force: true });
  }
}

/** Removes everything in the directory except its lock, so that a second start stays locked out meanwhile. */
export function emptyDirectory(directory: string): void {
  mkdirSync(directory, { recursive: true });
  for (const name of readdirSync(directory)) {
    if (name !== LOCK_FILE) rmSync(join(directory, name), { recursive: true, force: true });
  }
}

/** Whether a process with this id exists; false for what is not a process id. */
export function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid < 1) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
