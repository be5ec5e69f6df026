/** A service process for run-service.test.ts; its first argument selects a behavior. */
import { createServer } from "node:net";
import { ConfigError } from "../../src/runtime/config.ts";
import { runService, type ServiceContext } from "../../src/runtime/run-service.ts";

const never = new Promise<never>(() => {});
const nothing: AsyncDisposable = { [Symbol.asyncDispose]: async () => {} };

/** Keeps the process alive, as a listener does, until disposed. */
async function listen(): Promise<AsyncDisposable> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

const behaviors: Readonly<Record<string, (context: ServiceContext) => Promise<AsyncDisposable>>> = {
  good: async ({ log }) => {
    const server = await listen();
    return {
      [Symbol.asyncDispose]: async () => {
        await server[Symbol.asyncDispose]();
        log.info("disposed");
      },
    };
  },
  "slow start": async ({ clock, signal, log }) => {
    log.info("waiting to start");
    await clock.sleep(600_000, signal);
    return nothing;
  },
  "deaf start": async ({ log, clock }) => {
    log.info("waiting to start");
    await clock.sleep(600_000);
    return nothing;
  },
  "cannot start": async () => {
    throw new Error("no bus at nats://me:hunter2@host");
  },
  "bad config": async () => {
    throw new ConfigError([
      { source: "c.yaml", line: 3, path: "window", found: '"5x"', expected: "a duration" },
      { source: "c.yaml", line: 4, path: "spool", found: "nothing", expected: "a size" },
    ]);
  },
  "hangs at the end": async () => {
    await listen();
    return { [Symbol.asyncDispose]: () => never };
  },
  "fails at the end": async () => ({
    [Symbol.asyncDispose]: async () => {
      throw new Error("cannot dispose");
    },
  }),
  "forgets a listener": async () => {
    await listen();
    return nothing;
  },
  "unhandled rejection": async ({ log }) => {
    const server = await listen();
    setImmediate(() => void Promise.reject(new Error("not awaited")));
    return {
      [Symbol.asyncDispose]: async () => {
        await server[Symbol.asyncDispose]();
        log.info("disposed");
      },
    };
  },
  "uncaught exception": async () => {
    setImmediate(() => {
      throw new Error("not caught");
    });
    return listen();
  },
  "fails in the background": async ({ fail }) => {
    setImmediate(() => fail(new Error("the bus closed for good")));
    return listen();
  },
};

const start = behaviors[process.argv[2] ?? ""];
if (start === undefined) throw new Error(`no such behavior: ${process.argv[2]}`);
await runService({ name: "probe", start, graceMs: Number(process.argv[3]) });
