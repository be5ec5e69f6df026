/** Where a server of ours listens. */
import type { Server } from "node:net";
import { terminal } from "./faults.ts";

/** An address to bind, and what an error says of it. */
export interface Endpoint {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** Who wants to listen, for example "the shim". */
  readonly who: string;
  /** The variables that choose another address. */
  readonly variables: string;
}

/**
 * Resolves when the server listens.
 * @throws Terminal `port_in_use`, or `cannot_listen` for any other cause; both name the address and the variables.
 */
export function listen(server: Server, { host, port, who, variables }: Endpoint): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const code = error.code === "EADDRINUSE" ? "port_in_use" : "cannot_listen";
      const cause = error.code ?? error.message;
      reject(terminal(code, `${who} cannot listen on ${host}:${port} (${cause}): choose another with ${variables}`, error));
    });
    server.listen(port, host, () => resolve());
  });
}
