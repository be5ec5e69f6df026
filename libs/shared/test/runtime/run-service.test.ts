import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { createLogger } from "../../src/runtime/logger.ts";
import { type ProcessHost, runService } from "../../src/runtime/run-service.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";
import { nextTurn } from "../../src/testing/pass-time.ts";

const PROGRAM = fileURLToPath(new URL("./service-process.ts", import.meta.url));
const LONG_GRACE_MS = 300_000;
const children: ChildProcess[] = [];
after(() => {
  for (const child of children) child.kill("SIGKILL");
});

interface LogEntry {
  readonly level: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** Runs a real process and sends it `signals`, each when its `after` text has been logged. */
async function run(behavior: string, graceMs: number, signals: readonly { after: string; signal: NodeJS.Signals }[] = []) {
  const child = spawn(process.execPath, [PROGRAM, behavior, String(graceMs)], { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  let output = "";
  const left = [...signals];
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    output += chunk;
    const next = left[0];
    if (next !== undefined && output.includes(next.after)) {
      left.shift();
      child.kill(next.signal);
    }
  });
  const [code, killedBy] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) =>
    child.on("close", (...end) => resolve(end)),
  );
  const lines = output
    .split("\n")
    .filter(Boolean)
    .map((line): LogEntry => JSON.parse(line));
  return {
    code,
    killedBy,
    output,
    lines,
    messages: lines.map(({ msg }) => msg),
    fatal: lines.filter(({ level }) => level === "fatal"),
  };
}

function openKinds(line: LogEntry | undefined): Record<string, number> {
  return (line?.open ?? {}) as Record<string, number>;
}

describe("a service process", () => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    it(`stops cleanly on ${signal}: disposed, exit code 0, nothing left behind`, async () => {
      const end = await run("good", LONG_GRACE_MS, [{ after: "probe started", signal }]);
      assert.deepEqual([end.code, end.killedBy], [0, null]);
      assert.deepEqual(end.messages, ["probe started", "probe is stopping", "disposed", "probe stopped"]);
    });
  }

  it("cancels a start that is still waiting", async () => {
    const end = await run("slow start", LONG_GRACE_MS, [{ after: "waiting to start", signal: "SIGTERM" }]);
    assert.equal(end.code, 0);
    assert.deepEqual(end.fatal, []);
  });

  it("that cannot start reports the reason, without secrets, and exits with 1", async () => {
    const end = await run("cannot start", LONG_GRACE_MS);
    assert.equal(end.code, 1);
    assert.match(end.fatal[0]?.msg ?? "", /probe could not start/);
    assert.match(end.output, /no bus at nats:\/\/\[hidden\]@host/);
    assert.doesNotMatch(end.output, /hunter2/);
  });

  it("with an invalid configuration reports one line per problem", async () => {
    const end = await run("bad config", LONG_GRACE_MS);
    assert.equal(end.code, 1);
    assert.deepEqual(
      end.fatal.map(({ msg }) => msg),
      [
        'c.yaml:3: window: found "5x", expected a duration',
        "c.yaml:4: spool: missing, expected a size",
        "probe could not start: invalid configuration",
      ],
    );
  });

  it("that hangs while stopping exits after the grace period, and lists open resources", async () => {
    const end = await run("hangs at the end", 200, [{ after: "probe started", signal: "SIGTERM" }]);
    assert.equal(end.code, 1);
    assert.match(end.fatal[0]?.msg ?? "", /did not stop within its grace period/);
    assert.equal(end.fatal[0]?.phase, "stopping");
    assert.ok(openKinds(end.fatal[0]).TCPServerWrap, JSON.stringify(end.fatal[0]));
  });

  it("that ignores its abort signal while starting exits after the grace period", async () => {
    const end = await run("deaf start", 200, [{ after: "waiting to start", signal: "SIGTERM" }]);
    assert.equal(end.code, 1);
    assert.equal(end.fatal[0]?.phase, "starting");
  });

  it("that leaves a listener open exits after the grace period, and reports its kind", async () => {
    const end = await run("forgets a listener", 200, [{ after: "probe started", signal: "SIGTERM" }]);
    assert.equal(end.code, 0);
    assert.deepEqual(end.messages.slice(0, 3), ["probe started", "probe is stopping", "probe stopped"]);
    assert.deepEqual([end.fatal[0]?.phase, openKinds(end.fatal[0]).TCPServerWrap], ["stopped", 1]);
  });

  it("exits at once on a second SIGINT", async () => {
    const end = await run("hangs at the end", LONG_GRACE_MS, [
      { after: "probe started", signal: "SIGINT" },
      { after: "probe is stopping", signal: "SIGINT" },
    ]);
    assert.deepEqual([end.code, end.killedBy], [130, null]);
  });

  it("that fails while stopping exits with 1", async () => {
    const end = await run("fails at the end", LONG_GRACE_MS, [{ after: "probe started", signal: "SIGTERM" }]);
    assert.equal(end.code, 1);
    assert.match(end.fatal[0]?.msg ?? "", /could not stop cleanly/);
  });

  for (const [behavior, message] of [
    ["unhandled rejection", "probe failed: unhandled rejection"],
    ["uncaught exception", "probe failed: uncaught exception"],
    ["fails in the background", "probe failed"],
  ] as const) {
    it(`${behavior}: logged as fatal, disposed, exit code 1`, async () => {
      const end = await run(behavior, LONG_GRACE_MS);
      assert.deepEqual([end.code, end.killedBy], [1, null]);
      assert.equal(end.fatal[0]?.msg, message);
      assert.equal(end.messages.at(-1), "probe stopped");
    });
  }
});

/** A process that records what is done to it. */
function fakeHost() {
  const listeners = new Map<string, (argument: unknown) => void>();
  const seen = { exits: [] as number[], exitCode: undefined as number | undefined };
  const host: ProcessHost = {
    on: (event, listener) => void listeners.set(event, listener),
    off: (event, listener) => void (listeners.get(event) === listener && listeners.delete(event)),
    exit: (code) => void seen.exits.push(code),
    setExitCode: (code) => {
      seen.exitCode = code;
    },
    openResources: () => ["Timeout", "Timeout", "TCPSocketWrap"],
  };
  return { host, seen, listeners };
}

describe("the lifecycle of a service, on a fake process and clock", () => {
  it("leaves no listener and only the background timer", async () => {
    const clock = manualClock();
    const { host, seen, listeners } = fakeHost();
    const log = createLogger({ service: "t", clock, write: () => {} });
    const disposed: string[] = [];
    const life = runService({
      name: "t",
      clock,
      host,
      log,
      start: async ({ signal }) => {
        signal.addEventListener("abort", () => disposed.push("aborted"));
        return { [Symbol.asyncDispose]: async () => void disposed.push("disposed") };
      },
    });
    assert.deepEqual([...listeners.keys()], ["SIGTERM", "SIGINT", "unhandledRejection", "uncaughtException"]);
    await nextTurn();
    assert.equal(clock.timers, 1, "a running service has one timer, which never fires and keeps the process alive");
    listeners.get("SIGTERM")?.("SIGTERM");
    listeners.get("SIGTERM")?.("SIGTERM");
    await life;
    assert.deepEqual(disposed, ["aborted", "disposed"]);
    assert.deepEqual([listeners.size, seen.exitCode, clock.timers], [0, 0, 1]);
    clock.advance(10_000);
    assert.deepEqual(seen.exits, [0]);
  });

  it("disposes a service whose start finished after the signal", async () => {
    const { host, listeners, seen } = fakeHost();
    const started = Promise.withResolvers<AsyncDisposable>();
    let disposed = false;
    const log = createLogger({ service: "t", write: () => {} });
    const life = runService({ name: "t", host, log, clock: manualClock(), start: () => started.promise });
    listeners.get("SIGINT")?.("SIGINT");
    started.resolve({
      [Symbol.asyncDispose]: async () => {
        disposed = true;
      },
    });
    await life;
    assert.deepEqual([disposed, seen.exitCode], [true, 0]);
  });
});
