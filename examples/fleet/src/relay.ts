/** A TCP relay that can be cut. It sits between the collectors of one AZ and NATS. */
import { connect, createServer, type Server, type Socket } from "node:net";

export interface Relay {
  readonly port: number;
  /** Closes every connection and rejects new ones. */
  cut(): Promise<void>;
  /** Listens again on the same port. */
  heal(): Promise<void>;
  stop(): Promise<void>;
}

/** Relays `host:port` to `host:targetPort`. Port 0 selects a free one. */
export async function startRelay(host: string, port: number, targetPort: number): Promise<Relay> {
  const sockets = new Set<Socket>();
  const relay = (near: Socket): void => {
    const far = connect(targetPort, host);
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
  const open = async (listenPort: number): Promise<Server> => {
    const server = createServer(relay);
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(listenPort, host, resolve);
    });
    return server;
  };
  let server: Server | undefined = await open(port);
  const address = server.address();
  const boundPort = typeof address === "object" && address !== null ? address.port : port;
  const cut = async (): Promise<void> => {
    const closing = server;
    server = undefined;
    for (const socket of sockets) socket.destroy();
    if (closing) await new Promise((resolve) => closing.close(resolve));
  };
  return {
    port: boundPort,
    cut,
    heal: async () => {
      server ??= await open(boundPort);
    },
    stop: cut,
  };
}
