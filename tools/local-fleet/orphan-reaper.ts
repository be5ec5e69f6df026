/**
 * Stops the children of a starter that was killed. A guard, a shell, waits on a pipe from the starter. However the starter ends,
 * the pipe closes, and the guard kills every process group listed in its file. After an orderly stop the file lists none.
 *
 * Every starter has its own file, which its guard reads once, so the guard does not kill the processes of a later start.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { writeFileAtomically } from "../../examples/fleet/src/layout.ts";
import { isAlive } from "./directory-lock.ts";

/**
 * SIGTERM, and SIGKILL for what still runs after four seconds; then it waits up to a second for the kernel. The first line of the
 * file is the guard's own process.
 */
const SCRIPT = `
signal_groups() { for group in $groups; do kill -s "$1" -- "-$group" 2>/dev/null; done; }
any_group() { for group in $groups; do kill -s 0 -- "-$group" 2>/dev/null && return 0; done; return 1; }
wait_tenths() { tenths=$1; while [ "$tenths" -gt 0 ] && any_group; do sleep 0.1; tenths=$((tenths - 1)); done; }
cat >/dev/null
groups=$(sed 1d "$1")
signal_groups TERM
wait_tenths 40
signal_groups KILL
wait_tenths 10
rm -f "$1"
exit 0
`;

/** Longer than a guard takes. */
const GUARD_ENDS_WITHIN_MS = 15_000;
const ASK_EVERY_MS = 50;

export interface Guard {
  /** The process groups that must not outlive the starter. */
  keep(groups: Iterable<number>): void;
  close(): void;
}

/** Starts a guard. @param groupsFile the beginning of its file's path, which all starters in this directory share */
export function startGuard(groupsFile: string): Guard {
  mkdirSync(dirname(groupsFile), { recursive: true });
  const file = `${groupsFile}.${randomBytes(6).toString("hex")}`;
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
  let kept: readonly number[] = [];
  const write = (): void => writeFileAtomically(file, [shell.pid ?? 0, ...kept].map((pid) => `${pid}\n`).join(""));
  write();
  return {
    keep: (groups) => {
      kept = [...groups];
      write();
    },
    close: () => {
      if (kept.length === 0) shell.stdin?.end();
    },
  };
}

/**
 * Waits until the guards of earlier starters in this directory have stopped the processes left behind. Call it while no other
 * starter uses the directory. A file whose guard is gone is removed, because after a restart of the machine its groups belong to
 * other programs.
 */
export async function waitForGuards(groupsFile: string): Promise<void> {
  const directory = dirname(groupsFile);
  if (!existsSync(directory)) return;
  const files = readdirSync(directory).filter((name) => name.startsWith(`${basename(groupsFile)}.`));
  await Promise.all(files.map((name) => waitForGuard(join(directory, name))));
}

async function waitForGuard(file: string): Promise<void> {
  const deadline = performance.now() + GUARD_ENDS_WITHIN_MS;
  while (performance.now() < deadline && isAlive(guardOf(file))) await sleep(ASK_EVERY_MS);
  rmSync(file, { force: true });
}

/** The guard's process id; 0 once it has removed its file. */
function guardOf(file: string): number {
  try {
    return Number.parseInt(readFileSync(file, "utf8"), 10);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return 0;
    throw error;
  }
}
