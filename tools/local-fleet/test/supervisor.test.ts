/** The supervisor starts children, restarts them when they exit, and stops them, even if their starter is killed. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { until } from "@aviary/shared/testing/until.ts";
import { openBoundedLog } from "../log-file.ts";
import { waitForGuards } from "../orphan-reaper.ts";
import { choosePorts } from "../ports.ts";
import { type ChildSpec, createSupervisor, type Supervisor } from "../supervisor.ts";

const SUPERVISOR = fileURLToPath(new URL("../supervisor.ts", import.meta.url));

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "aviary-supervisor-"));
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((supervisor) => supervisor.stopAll()));
  rmSync(directory, { recursive: true, force: true });
});

/** A shell that becomes ready, prints its process id, and then runs a script. */
function shell(name: string, script: string, phase = 0, first = ":"): ChildSpec {
  const logFile = join(directory, `${name}.log`);
  return {
    name,
    command: "/bin/sh",
    args: ["-c", `${first}; echo "pid $$"; ${script}`],
    logFile,
    // A whole line: the log also contains the command, which contains the word.
    ready: async () => existsSync(logFile) && /^pid \d+$/m.test(readFileSync(logFile, "utf8")),
    phase,
  };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // A zombie has exited too.
    return !/^State:\s+Z/m.test(existsSync(`/proc/${pid}/status`) ? readFileSync(`/proc/${pid}/status`, "utf8") : "");
  } catch {
    return false;
  }
}

const starts = (name: string): string[] => readFileSync(join(directory, `${name}.log`), "utf8").match(/^pid \d+$/gm) ?? [];
const running: Supervisor[] = [];
/** A supervisor that stops with its test. */
function supervise(lines: string[] = [], stopWithinMs = 6_000): Supervisor {
  const supervisor = createSupervisor({
    groupsFile: join(directory, "groups"),
    print: (line) => void lines.push(line),
    stopWithinMs,
  });
  running.push(supervisor);
  return supervisor;
}

describe("supervisor", () => {
  it("restarts a child that exits, reports it in one line, and stops it permanently", async () => {
    const lines: string[] = [];
    const supervisor = supervise(lines);
    await supervisor.start(shell("part", "sleep 600"));
    const first = supervisor.pid("part") ?? 0;
    process.kill(-first, "SIGKILL");
    await until("it has started again", () => starts("part").length === 2 && supervisor.isRunning("part"));
    const second = supervisor.pid("part") ?? 0;
    assert.notEqual(second, first);
    assert.equal(lines.length, 1);
    assert.match(lines[0] ?? "", /^part was killed by SIGKILL; restarting in 0\.5 s/);
    await supervisor.stopAll();
    await until("the second process is gone", () => !isAlive(second));
  });

  it("stops a child's descendants, later phases first", async () => {
    const supervisor = supervise();
    await supervisor.start(shell("server", "sleep 600 & wait", 0, `trap 'echo over >> ${directory}/order-server; exit 0' TERM`));
    const inner = join(directory, "inner");
    const trap = `trap 'test ! -e ${directory}/order-server && echo first > ${directory}/order-user; exit 0' TERM`;
    await supervisor.start(shell("user", `sleep 600 & echo $! > ${inner}; wait`, 1, trap));
    await until("the inner process runs", () => existsSync(inner) && readFileSync(inner, "utf8").trim() !== "");
    const pid = Number(readFileSync(inner, "utf8"));
    assert.ok(isAlive(pid));
    await supervisor.stopAll();
    await until("the inner process is gone", () => !isAlive(pid));
    assert.ok(existsSync(join(directory, "order-user")), "the user ended before the server");
    assert.ok(existsSync(join(directory, "order-server")));
  });

  it("stops the descendants that an exited child has left behind", async () => {
    const inner = join(directory, "inner");
    const supervisor = supervise();
    await supervisor.start(shell("parent", `test -e ${inner} || { sleep 600 & echo $! > ${inner}; }; sleep 600`));
    await until("the inner process runs", () => existsSync(inner) && readFileSync(inner, "utf8").trim() !== "");
    const pid = Number(readFileSync(inner, "utf8"));
    process.kill(supervisor.pid("parent") ?? 0, "SIGKILL");
    await until("the inner process is gone", () => !isAlive(pid));
    await supervisor.stopAll();
  });

  it("kills a child that ignores SIGTERM", async () => {
    const supervisor = supervise([], 300);
    await supervisor.start(shell("deaf", "while :; do sleep 1; done", 0, "trap '' TERM"));
    const pid = supervisor.pid("deaf") ?? 0;
    await supervisor.stopAll();
    assert.ok(!isAlive(pid));
  });

  it("rejects a child that cannot start, with the end of its log", async () => {
    const supervisor = supervise();
    const broken = { ...shell("broken", "echo the reason why; exit 3"), ready: async () => false };
    await assert.rejects(supervisor.start(broken), /broken exited before it was ready[\s\S]*the reason why/);
    await supervisor.stopAll();
  });

  it("leaves nothing behind when the starter is killed", async () => {
    const starter = await startStarter("part", ":", "sleep 600 & wait");
    assert.ok(isAlive(starter.part));
    starter.kill();
    await until("the part is gone", () => !isAlive(starter.part));
  });

  it("starts again right after its starter was killed, and the old guard stops only what the old starter had started", async () => {
    // Ignores SIGTERM, so that the old guard is still busy at the next start.
    const starter = await startStarter("slow", "trap '' TERM", "while :; do sleep 0.2; done");
    starter.kill();
    const supervisor = supervise();
    await supervisor.start(shell("next", "sleep 600"));
    const next = supervisor.pid("next") ?? 0;
    assert.ok(isAlive(starter.part), "the old guard has not finished");
    await until("the old guard has finished", () => groupFiles().length === 1);
    assert.ok(!isAlive(starter.part));
    assert.ok(isAlive(next), "the old guard has killed a part of the new start");
    assert.ok(supervisor.isRunning("next"));
  });

  it("can be awaited, so that the next start begins after the old guard has finished", async () => {
    const starter = await startStarter("slow", "trap 'sleep 0.5; exit 0' TERM", "while :; do sleep 0.1; done");
    starter.kill();
    await waitForGuards(join(directory, "groups"));
    assert.ok(!isAlive(starter.part));
    assert.deepEqual(groupFiles(), []);
    // A guard from before a restart of the machine: its process is gone, and its groups may belong to any program.
    const { pid } = spawnSync(process.execPath, ["--version"]);
    writeFileSync(join(directory, "groups.0123"), `${pid}\n${process.pid}\n`);
    await waitForGuards(join(directory, "groups"));
    assert.deepEqual(groupFiles(), []);
  });
});

const groupFiles = (): string[] => readdirSync(directory).filter((name) => name.startsWith("groups."));

/** A starter with one part, in a separate process. @param first the command that the part runs before it is ready */
async function startStarter(name: string, first: string, script: string): Promise<{ readonly part: number; kill(): void }> {
  const pidFile = join(directory, `${name}.pid`);
  const started = join(directory, `${name}.started`);
  const program = `
    import { createSupervisor } from ${JSON.stringify(SUPERVISOR)};
    import { existsSync, writeFileSync } from "node:fs";
    const supervisor = createSupervisor({ groupsFile: ${JSON.stringify(join(directory, "groups"))}, print: () => {} });
    await supervisor.start({
      name: ${JSON.stringify(name)}, command: "/bin/sh", args: ["-c", ${JSON.stringify(`${first}; touch ${started}; ${script}`)}],
      logFile: ${JSON.stringify(join(directory, `${name}.log`))}, ready: async () => existsSync(${JSON.stringify(started)}), phase: 0,
    });
    writeFileSync(${JSON.stringify(pidFile)}, String(supervisor.pid(${JSON.stringify(name)})));
    await new Promise(() => setInterval(() => {}, 1000));`;
  const starter = spawn(process.execPath, ["--input-type=module", "-e", program], { stdio: "inherit" });
  await until("the part runs", () => existsSync(pidFile) && readFileSync(pidFile, "utf8") !== "");
  return { part: Number(readFileSync(pidFile, "utf8")), kill: () => void starter.kill("SIGKILL") };
}

describe("log file", () => {
  it("never exceeds its limit by more than one write, and keeps the previous one", () => {
    const path = join(directory, "a.log");
    const log = openBoundedLog(path, 100);
    for (let index = 0; index < 20; index += 1) log.write(`${String(index).padStart(2)} ${"x".repeat(36)}\n`);
    log.close();
    log.write("late");
    assert.ok(readFileSync(path, "utf8").length <= 140);
    assert.ok(readFileSync(`${path}.1`, "utf8").length <= 140);
    assert.match(readFileSync(path, "utf8"), /^19 x+$/m);
  });
});

describe("ports", () => {
  it("are distinct, and are chosen again while they are free", async () => {
    const file = join(directory, "ports.json");
    const names = Array.from({ length: 30 }, (_, index) => `port-${index}`);
    const first = await choosePorts(names, file);
    assert.equal(new Set(Object.values(first)).size, names.length);
    assert.deepEqual(await choosePorts(names, file), first);
  });
});
