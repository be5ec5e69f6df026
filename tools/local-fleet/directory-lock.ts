/** Allows one local fleet per directory, because two would write the same streams. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const LOCK_FILE = "starter.pid";

/**
 * Locks the directory, creating it if necessary. @returns a function that releases the lock. @throws Error if a running process
 * holds it
 */
export function lockDirectory(directory: string): () => void {
  createDirectory(directory);
  const file = join(directory, LOCK_FILE);
  for (;;) {
    try {
      writeFileSync(file, `${process.pid}\n`, { flag: "wx" });
      return () => rmSync(file, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const owner = ownerOf(directory);
    if (isAlive(owner))
      throw new Error(
        `a local fleet is already running here (process ${owner}): stop it with Ctrl-C, or delete ${file} if that process is not Aviary`,
      );
    rmSync(file, { force: true });
  }
}

/** Whether a running process holds the directory. */
export function isLocked(directory: string): boolean {
  return isAlive(ownerOf(directory));
}

/** The process id in the lock; NaN if there is no lock. */
function ownerOf(directory: string): number {
  try {
    return Number.parseInt(readFileSync(join(directory, LOCK_FILE), "utf8"), 10);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return Number.NaN;
    throw error;
  }
}

function createDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const isFile = code === "EEXIST" || code === "ENOTDIR";
    const why = isFile ? "a file exists at this path; name a folder with --directory" : message;
    throw new Error(`cannot create the folder ${directory}: ${why}`, { cause: error });
  }
}

/** Removes everything in the directory except its lock, so that no second fleet can start meanwhile. */
export function emptyDirectory(directory: string): void {
  mkdirSync(directory, { recursive: true });
  for (const name of readdirSync(directory)) {
    if (name !== LOCK_FILE) rmSync(join(directory, name), { recursive: true, force: true });
  }
}

/** Whether a process with this id exists; false for an invalid process id. */
export function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid < 1) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
