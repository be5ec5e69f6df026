/** Calls a shim as an operator does. */
import { Agent, type IncomingMessage, request } from "node:http";
import type { TestFleet } from "./test-fleet.ts";

export interface ShimAnswer {
  readonly status: number;
  readonly body: {
    readonly id: string;
    readonly verdict: string;
    readonly at: string;
    readonly valid_until: string;
    readonly stale?: boolean;
    readonly reasons: readonly { readonly code: string }[];
    readonly run: { readonly state: string } | null;
    readonly gateway: { readonly expected: number; readonly fresh: number };
  };
  /** Start and end of the request on this process's clock. */
  readonly sentAtMs: number;
  readonly answeredAtMs: number;
}

export interface TestShimClient {
  /** @throws Error if there is no response: refused, reset, or none within five seconds */
  get(path?: string): Promise<ShimAnswer>;
  close(): void;
}

/** A client that keeps its connections, up to `connections` of them. */
export function shimClient(fleet: Pick<TestFleet, "shimUrl" | "tokens">, connections = 4): TestShimClient {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const headers = { authorization: `Bearer ${fleet.tokens.operator}` };
  return {
    get: async (path = "/rollouts/analysis") => {
      const sentAtMs = Date.now();
      const { status, text } = await send(`${fleet.shimUrl}${path}`, agent, headers);
      return { status, body: JSON.parse(text) as ShimAnswer["body"], sentAtMs, answeredAtMs: Date.now() };
    },
    close: () => agent.destroy(),
  };
}

function send(url: string, agent: Agent, headers: Readonly<Record<string, string>>): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { agent, headers, timeout: 5_000 }, (answer: IncomingMessage) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (part: string) => {
        text += part;
      });
      answer.once("end", () => resolve({ status: answer.statusCode ?? 0, text }));
      answer.once("error", reject);
    });
    outgoing.once("timeout", () => outgoing.destroy(new Error("no response within five seconds")));
    outgoing.once("error", reject);
    outgoing.end();
  });
}
