/**
 * An HTTP client that costs less than the servers it loads: keep-alive connections over bare sockets, one request at a time on
 * each, no pipelining. Requests carry the headers of Flagger's client; half of the connections send the current token and half
 * the previous one.
 *
 *     closed loop: every connection sends its next request on the response    measures answers per second
 *     open loop:   requests start by the clock, regardless of responses       measures latency at a rate
 */
import { connect, type Socket } from "node:net";
import { type Figures, percentile, type Workload } from "./rounds.ts";

export interface LoadSettings {
  readonly port: number;
  readonly path: string;
  readonly tokens: readonly string[];
  readonly connections: number;
  readonly seconds: number;
  /** Requests per second of an open loop; absent for a closed loop. */
  readonly perSecond?: number;
}

interface Connection {
  readonly socket: Socket;
  /** Sends a request; `answered` is called with the milliseconds until the response was complete. */
  ask(answered: (ms: number) => void): void;
}

const END_OF_HEAD = Buffer.from("\r\n\r\n");

async function open(port: number, path: string, token: string): Promise<Connection> {
  const request = Buffer.from(
    `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\nAuthorization: Bearer ${token}\r\n\r\n`,
  );
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  await new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject));
  let startedAt = 0;
  let waiting: ((ms: number) => void) | undefined;
  let received: Buffer = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
    const head = received.indexOf(END_OF_HEAD);
    if (head < 0) return;
    const text = received.toString("latin1", 0, head);
    const length = Number(/content-length: (\d+)/i.exec(text)?.[1]);
    if (!text.startsWith("HTTP/1.1 200 ") || Number.isNaN(length)) throw new Error(`unexpected response:\n${text}`);
    if (received.length < head + 4 + length) return;
    received = Buffer.alloc(0);
    const done = waiting;
    waiting = undefined;
    done?.(performance.now() - startedAt);
  });
  return {
    socket,
    ask(answered) {
      waiting = answered;
      startedAt = performance.now();
      socket.write(request);
    },
  };
}

export async function makeLoad(settings: LoadSettings): Promise<Workload> {
  const { port, path, tokens, connections: count, seconds, perSecond } = settings;
  const connections = await Promise.all(
    Array.from({ length: count }, (_, k) => open(port, path, tokens[k % tokens.length] as string)),
  );
  return {
    round: () => (perSecond === undefined ? closedLoop(connections, seconds) : openLoop(connections, seconds, perSecond)),
    close: async () => {
      for (const { socket } of connections) socket.destroy();
    },
  };
}

function summary(latencies: readonly number[], elapsedMs: number): Figures {
  return {
    count: latencies.length,
    perSecond: (latencies.length / elapsedMs) * 1000,
    p50Ms: percentile(latencies, 0.5),
    p99Ms: percentile(latencies, 0.99),
  };
}

async function closedLoop(connections: readonly Connection[], seconds: number): Promise<Figures> {
  const latencies: number[] = [];
  const start = performance.now();
  const until = start + seconds * 1000;
  const loop = (connection: Connection): Promise<void> =>
    new Promise((resolve) => {
      const again = (ms: number): void => {
        latencies.push(ms);
        if (performance.now() >= until) resolve();
        else connection.ask(again);
      };
      connection.ask(again);
    });
  await Promise.all(connections.map(loop));
  return summary(latencies, performance.now() - start);
}

/** Latency counts from the scheduled start of a request, including its wait for a free connection. */
async function openLoop(connections: readonly Connection[], seconds: number, perSecond: number): Promise<Figures> {
  const latencies: number[] = [];
  const idle = [...connections];
  const overdue: number[] = [];
  const total = Math.round(seconds * perSecond);
  const start = performance.now();
  let sent = 0;
  const send = (connection: Connection, waitedMs: number): void => {
    connection.ask((ms) => {
      latencies.push(ms + waitedMs);
      const dueAt = overdue.shift();
      if (dueAt === undefined) idle.push(connection);
      else send(connection, performance.now() - dueAt);
    });
  };
  while (latencies.length < total) {
    const now = performance.now();
    const due = Math.min(total, Math.floor(((now - start) / 1000) * perSecond));
    for (; sent < due; sent += 1) {
      const connection = idle.pop();
      if (connection === undefined) overdue.push(now);
      else send(connection, 0);
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return summary(latencies, performance.now() - start);
}
