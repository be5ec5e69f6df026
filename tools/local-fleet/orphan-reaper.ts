/**
 * Stops the children of a starter that was killed. A shell that waits on a pipe from the starter: however the starter ends, the
 * pipe closes, and the shell kills every process group listed in the file. After an orderly stop the file is empty.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** SIGTERM first, SIGKILL after four seconds. */
const SCRIPT = `
cat >/dev/null
for signal in TERM KILL; do
  while read -r group; do kill -s "$signal" -- "-$group" 2>/dev/null; done < "$1"
  [ "$signal" = TERM ] && [ -s "$1" ] && sleep 4
done
exit 0
`;

export interface Guard {
  /** The process groups that must not outlive the starter. */
  keep(groups: Iterable<number>): void;
  close(): void;
}

export function startGuard(file: string): Guard {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, "");
  const shell: ChildProcess = spawn("/bin/sh", ["-c", SCRIPT, "guard", file], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  shell.on("error", (error) =>
    process.stderr.write(`cannot start the guard; a killed starter would leave processes behind: ${error.message}\n`),
  );
  shell.stdin?.on("error", () => undefined);
  // The guard must not keep the starter alive.
  shell.unref();
  (shell.stdin as unknown as { unref?(): void } | null)?.unref?.();
  return {
    keep: (groups) => writeFileSync(file, [...groups].map((group) => `${group}\n`).join("")),
    close: () => {
      if (readFileSync(file, "utf8") === "") shell.stdin?.end();
    },
  };
}
