/**
 * Rounds, the method of all measurements.
 *
 *     contender A ─ round 1 ──────── round 2 ──────── ...      each contender is a separate, warmed-up process;
 *     contender B ───────── round 1 ──────── round 2 ...       only one works at a time, and they take turns
 *
 * The speed of a shared machine varies within seconds. Turns expose both sides of a ratio to the same conditions, and the median
 * over the rounds ignores outliers. CPU is the process's own user and system time, as counted by the kernel.
 */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";

/** The figures of one round, by name. */
export type Figures = Readonly<Record<string, number>>;

/** One contender inside its own process. */
export interface Workload {
  round(): Promise<Figures>;
  close?(): Promise<void>;
}

/** Creates a contender from the parent's settings (JSON). */
export type CreateWorkload = (settings: never) => Promise<Workload>;

/** The parent's handle of a contender. */
export interface Contender {
  readonly name: string;
  readonly pid: number;
  round(): Promise<Figures>;
  close(): Promise<void>;
}

export const ROUNDS = 7;
const START_MS = 30_000;
const ROUND_MS = 60_000;
const CLOSE_MS = 5_000;
const PROGRAM = fileURLToPath(new URL("./contender-process.ts", import.meta.url));

export type ContenderMessage = { readonly ready: true } | { readonly figures: Figures } | { readonly failed: string };

/** Starts a contender of a benchmark in a separate process, which ends with this one. */
export async function startContender(
  benchmark: string,
  name: string,
  settings: object,
  execArgv: readonly string[] = [],
): Promise<Contender> {
  const child = fork(PROGRAM, [benchmark, name, JSON.stringify(settings)], { execArgv: [...execArgv], stdio: "inherit" });
  await answer(child, name, START_MS);
  return {
    name,
    pid: child.pid as number,
    async round() {
      const next = answer(child, name, ROUND_MS);
      child.send("round");
      const message = await next;
      if (!("figures" in message)) throw new Error(`${name} did not return figures`);
      return message.figures;
    },
    async close() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
      const force = setTimeout(() => child.kill("SIGKILL"), CLOSE_MS);
      if (child.connected) child.send("close");
      await gone;
      clearTimeout(force);
    },
  };
}

function answer(child: ChildProcess, name: string, withinMs: number): Promise<ContenderMessage> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => finish(() => reject(new Error(`${name} did not respond within ${withinMs} ms`))), withinMs);
    const onMessage = (message: ContenderMessage): void =>
      finish(() => ("failed" in message ? reject(new Error(`${name}: ${message.failed}`)) : resolve(message)));
    const onExit = (code: number | null): void => finish(() => reject(new Error(`${name} exited with ${code}`)));
    function finish(then: () => void): void {
      clearTimeout(timer);
      child.off("message", onMessage);
      child.off("exit", onExit);
      then();
    }
    child.once("message", onMessage);
    child.once("exit", onExit);
  });
}

/**
 * Lets contenders take turns: `warmUps` rounds that do not count, then `rounds` that do. Figures are by contender, then by round.
 */
export async function takeTurns(contenders: readonly Contender[], rounds: number = ROUNDS, warmUps = 1): Promise<Figures[][]> {
  const figures: Figures[][] = contenders.map(() => []);
  for (let round = -warmUps; round < rounds; round += 1) {
    for (const [index, contender] of contenders.entries()) {
      const measured = await contender.round();
      if (round >= 0) figures[index]?.push(measured);
    }
  }
  return figures;
}

/** The median; for an even number of values, the mean of the middle two. @throws RangeError without values */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle];
  if (upper === undefined) throw new RangeError("cannot take the median of an empty list");
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] as number)) / 2;
}

/** The quantile `q`: the value of rank ceil(q * count). */
export function percentile(values: readonly number[], q: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] as number;
}

/** Median of one figure over the rounds. */
export function middle(rounds: readonly Figures[], figure: string): number {
  return median(rounds.map((round) => round[figure] as number));
}

/** Median over the rounds of `top[figure] / bottom[figure]`, each within one round. */
export function ratioOf(top: readonly Figures[], bottom: readonly Figures[], figure: string): number {
  return median(top.map((round, k) => (round[figure] as number) / (bottom[k]?.[figure] as number)));
}

/** Wall time and CPU of one piece of work in this process, per item of `count`. */
export async function timed(work: () => Promise<number>): Promise<Figures> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  const count = await work();
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { count, perSecond: count / seconds, cpuUs: (user + system) / count };
}
