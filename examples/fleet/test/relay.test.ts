/** The relay forwards bytes both ways, rejects connections after a cut, and heals on the same port. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { describe, it } from "node:test";
import { startRelay } from "../src/relay.ts";

const HOST = "127.0.0.1";

async function dial(port: number): Promise<Socket> {
  const socket = connect(port, HOST);
  await once(socket, "connect");
  return socket;
}

describe("the relay", () => {
  it("forwards bytes, drops every connection on cut, and accepts new ones after heal", async () => {
    const echo = createServer((socket) => socket.pipe(socket));
    await new Promise<void>((resolve) => echo.listen(0, HOST, resolve));
    const address = echo.address();
    const relay = await startRelay(HOST, 0, typeof address === "object" && address !== null ? address.port : 0);
    try {
      const pingPong = async (): Promise<Socket> => {
        const socket = await dial(relay.port);
        socket.write("ping");
        const [data] = (await once(socket, "data")) as [Buffer];
        assert.equal(data.toString(), "ping");
        return socket;
      };
      const open = await pingPong();
      const closed = once(open, "close");
      await relay.cut();
      await closed;
      await assert.rejects(dial(relay.port), /ECONNREFUSED/);
      await relay.heal();
      (await pingPong()).destroy();
    } finally {
      await relay.stop();
      await new Promise((resolve) => echo.close(resolve));
    }
  });
});
