/** The address a server listens on. */
import type { Server } from "node:net";
import { terminal } from "./faults.ts";

/** An address to bind, and its description in errors. */
export interface Endpoint {
  readonly host: string;
  /** 0 selects any free port. */
  readonly port: number;
  /** The listener, for example "the shim". */
  readonly who: string;
  /** The variables that change the address. */
  readonly variables: string;
}

/**
 * Resolves when the server is listening.
 * @throws Terminal `port_in_use`, or `cannot_listen` for any other cause; both contain the address and the variables
 */
export function listen(server: Server, { host, port, who, variables }: Endpoint): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const code = error.code === "EADDRINUSE" ? "port_in_use" : "cannot_listen";
      const cause = error.code ?? error.message;
      reject(
        terminal(code, `${who} cannot listen on ${host}:${port} (${cause}): choose another address with ${variables}`, error),
      );
    });
    server.listen(port, host, () => resolve());
  });
}
