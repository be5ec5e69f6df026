/** A TCP relay that can be cut: what stands between the collectors of one AZ and NATS in the local fleet. */
import { connect, createServer, type Server, type Socket } from "node:net";

export interface Relay {
  readonly port: number;
  /** Closes every connection and refuses new ones. */
  cut(): Promise<void>;
  /** Listens again, on the same port. */
  heal(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts relaying `host:port` to `host:target`. Port 0 takes a free one. */
export async function startRelay(host: string, port: number, target: number): Promise<Relay> {
  const sockets = new Set<Socket>();
  const join = (near: Socket): void => {
    const far = connect(target, host);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.setNoDelay(true);
      from.pipe(to);
      from.on("error", () => to.destroy());
      from.on("close", () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  };
  const open = async (at: number): Promise<Server> => {
    const server = createServer(join);
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(at, host, resolve);
    });
    return server;
  };
  let server: Server | undefined = await open(port);
  const address = server.address();
  const own = typeof address === "object" && address !== null ? address.port : port;
  const cut = async (): Promise<void> => {
    const closing = server;
    server = undefined;
    for (const socket of sockets) socket.destroy();
    if (closing) await new Promise((resolve) => closing.close(resolve));
  };
  return {
    port: own,
    cut,
    heal: async () => {
      server ??= await open(own);
    },
    stop: cut,
  };
}
