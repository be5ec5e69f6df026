/** An HTTP server on a free port, for probes under test. */
import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import { atEnd } from "@aviary/shared/testing/temporary.ts";

/** Serves until the end of the test; returns the URL. */
export async function serveHttp(test: TestContext, listener: RequestListener): Promise<string> {
  return `http://127.0.0.1:${await listen(test, createServer(listener))}`;
}

/** Listens on a free port, which is returned, until the end of the test. */
export async function listen(test: TestContext, server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  atEnd(test, () => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}
