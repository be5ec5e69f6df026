/** One fleet a directory: two of them would write the same streams. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Takes the directory. @returns a function that gives it back. @throws Error when a living process has it */
export function takeDirectory(directory: string): () => void {
  mkdirSync(directory, { recursive: true });
  const file = join(directory, "starter.pid");
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
        `a local fleet runs here already (process ${owner}): stop it with Ctrl-C, or delete ${file} if that is something else`,
      );
    rmSync(file, { force: true });
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid < 1) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
