/** Nodes and their processes: start, crash, pause, disconnect, clock step. */

import type { RandomChoices } from "./choices.ts";
import type { History } from "./history.ts";
import { count } from "./history.ts";
import { clockOf, type Kernel, type Life } from "./kernel.ts";
import { createLink, GOOD_LINK, type Link, type LinkPlan } from "./link.ts";
import { createNodeBus } from "./network.ts";

/** The program of one process. */
export interface Service {
  /** Stops gracefully, as after SIGTERM. */
  close(): Promise<void>;
}

export interface NodeContext {
  readonly life: Life;
  readonly clock: ReturnType<typeof clockOf>;
  readonly bus: ReturnType<typeof createNodeBus>;
  /** Ends the process with an error; its supervisor starts a new one after one second. */
  readonly failWith: (error: unknown) => void;
}

export interface Node {
  readonly name: string;
  readonly life: Life | undefined;
  start(): void;
  /** Crashes now and is restarted after `downMs`; never, if that is infinite. */
  kill(downMs: number, why: string): void;
  /** Stops gracefully and is restarted `downMs` later. */
  restart(downMs: number): void;
  pause(forMs: number): void;
  cut(forMs: number, isSilent: boolean): void;
  stepClock(byMs: number): void;
  /** Calls back when the broker stores the n-th write of this process from now on. */
  onWrite(nth: number, fn: () => void): void;
  /** Restores the node: running or about to restart after a graceful stop, and connected. Its clock is unchanged. */
  heal(): void;
}

export interface NodesOptions {
  readonly kernel: Kernel;
  readonly broker: Parameters<typeof createNodeBus>[0]["broker"];
  readonly random: RandomChoices;
  readonly history: History;
}

const RESTART_AFTER_ERROR_MS = 1_000;
const GRACEFUL_MS = 5_000;

export function createNode(
  { kernel, broker, random, history }: NodesOptions,
  name: string,
  linkPlan: LinkPlan,
  run: (context: NodeContext) => Service,
): Node {
  const link: Link = createLink(name, linkPlan);
  let life: Life | undefined;
  let service: Service | undefined;
  let lives = 0;
  let wallOffsetMs = 0;
  let writesLeft = Number.POSITIVE_INFINITY;
  let atLastWrite = (): void => {};
  let cutNumber = 0;
  let healed = false;
  let isOff = false;

  const trace = (text: string): void => {
    history.trace?.push(`${(kernel.nowMs / 1000).toFixed(3).padStart(8)} ${name} ${text}`);
  };
  const setCut = (cut: Link["cut"]): void => {
    link.cut = cut;
    for (const listener of [...link.onChange]) listener();
  };

  const node: Node = {
    name,
    get life() {
      return life;
    },
    start() {
      if (life !== undefined || isOff) return;
      lives += 1;
      const started: Life = {
        node: name,
        number: lives,
        bornMs: kernel.nowMs,
        alive: true,
        paused: false,
        held: [],
        wallOffsetMs: () => wallOffsetMs,
        onExit: [],
      };
      life = started;
      trace("starts");
      const bus = createNodeBus({
        kernel,
        broker,
        link,
        life: started,
        random,
        history,
        onWritten: () => {
          if (!started.alive) return;
          writesLeft -= 1;
          if (writesLeft > 0) return;
          writesLeft = Number.POSITIVE_INFINITY;
          atLastWrite();
        },
      });
      const failWith = (error: unknown): void => {
        if (!started.alive) return;
        history.fatals.push({ atMs: kernel.nowMs, node: name, error });
        node.kill(RESTART_AFTER_ERROR_MS, `exits with an error: ${(error as Error).message}`);
      };
      service = run({ life: started, clock: clockOf(kernel, started), bus, failWith });
    },
    kill(downMs, why) {
      // A restart that is already scheduled must not turn it on again.
      if (!Number.isFinite(downMs)) isOff = true;
      if (life === undefined) return;
      trace(why);
      count(history, `${name.split("-")[0]} crashed`);
      history.exits.push({ atMs: kernel.nowMs, node: name });
      const exited = life;
      life = undefined;
      service = undefined;
      writesLeft = Number.POSITIVE_INFINITY;
      exited.alive = false;
      exited.held.length = 0;
      for (const end of exited.onExit.splice(0)) end();
      if (Number.isFinite(downMs)) kernel.after(downMs, undefined, () => node.start());
    },
    restart(downMs) {
      const ending = life;
      if (ending === undefined || service === undefined) return;
      trace("is stopping");
      const done = (): void => {
        if (life === ending) node.kill(healed ? 0 : downMs, "has stopped");
      };
      const closing = service;
      // The request is handled inside the process, so not while it is paused.
      kernel.after(0, ending, () => void closing.close().then(done, done));
      kernel.after(GRACEFUL_MS, undefined, done);
    },
    pause(forMs) {
      const paused = life;
      if (paused === undefined || paused.paused) return;
      trace(`is paused for ${forMs} ms`);
      count(history, `${name.split("-")[0]} paused`);
      paused.paused = true;
      kernel.after(forMs, undefined, () => {
        if (!paused.alive || !paused.paused) return;
        trace("resumes");
        kernel.wake(paused);
      });
    },
    cut(forMs, isSilent) {
      trace(`is cut off for ${forMs} ms${isSilent ? ", unnoticed" : ""}`);
      count(history, `${name.split("-")[0]} cut`);
      cutNumber += 1;
      const mine = cutNumber;
      setCut(isSilent ? "silent" : "known");
      kernel.after(forMs, undefined, () => {
        if (mine !== cutNumber || link.cut === "none") return;
        trace("is connected again");
        setCut("none");
      });
    },
    stepClock(byMs) {
      trace(`has its clock set by ${byMs} ms`);
      count(history, "clock step");
      wallOffsetMs += byMs;
    },
    onWrite(nth, fn) {
      writesLeft = nth;
      atLastWrite = fn;
    },
    heal() {
      healed = true;
      writesLeft = Number.POSITIVE_INFINITY;
      link.plan = GOOD_LINK;
      if (link.cut !== "none") setCut("none");
      if (life?.paused) kernel.wake(life);
      node.start();
    },
  };
  return node;
}
