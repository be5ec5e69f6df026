/** What the verbs ask the shim: its own API, with the operator's token. */

import type { CommandIo } from "@aviary/shared/commands/command.ts";
import type { LaneRecord } from "@aviary/shared/contract/lane.ts";
import type { VerdictBody } from "@aviary/shared/contract/verdict.ts";
import { faultCode, terminal } from "@aviary/shared/runtime/faults.ts";
import { createHttpClient } from "@aviary/shared/runtime/http-client.ts";

/** A canary as the shim's API shows it. */
export interface CanaryView extends VerdictBody {
  readonly stale: boolean;
  readonly lanes: readonly { readonly lane: string; readonly record: LaneRecord | null }[];
  readonly meanings?: Readonly<Record<string, string>>;
}

export interface Overview {
  readonly now: string;
  readonly evaluator: { readonly lease_age_ms: number | null; readonly bus: string; readonly server: string };
  readonly canaries: readonly CanaryView[];
}

export interface Shim {
  readonly url: string;
  readonly token: string;
}

/** Where the shim is and with which token. @throws Terminal `usage` that says what to set. */
export function shimOf(io: CommandIo): Shim {
  const { AVIARY_URL: url, AVIARY_TOKEN: token } = io.env;
  if (url === undefined || token === undefined) {
    throw terminal(
      "not_configured",
      "set AVIARY_URL (the shim, for example http://127.0.0.1:8080) and AVIARY_TOKEN (an operator's token), or start the local fleet with `npm start`",
    );
  }
  if (!/^https?:$/.test(URL.parse(url)?.protocol ?? ""))
    throw terminal("not_configured", `AVIARY_URL is ${JSON.stringify(url)}: expected a URL such as http://127.0.0.1:8080`);
  return { url: url.replace(/\/+$/, ""), token };
}

const MAX_BYTES = 4 * 1024 * 1024;

/** One answer of the shim's API. @throws a fault that says what the shim said */
export async function getFromShim<T>({ url, token }: Shim, path: string, signal: AbortSignal): Promise<T> {
  const client = createHttpClient({ loopback: true, allow: [new URL(url).hostname] });
  try {
    const answer = await client
      .send({
        url: `${url}${path}`,
        headers: { authorization: `Bearer ${token}` },
        timeoutMs: 5_000,
        maxBytes: MAX_BYTES,
        accept: () => true,
        signal,
      })
      .catch((error: unknown) => {
        throw terminal(
          faultCode(error),
          `${(error as Error).message}; AVIARY_URL says where the shim is ("npm start" starts a local one)`,
          error,
        );
      });
    const text = answer.body.toString();
    if (answer.status === 200) return JSON.parse(text) as T;
    const hint = answer.status === 401 ? "; AVIARY_TOKEN holds what was sent" : "";
    throw terminal("refused", `${url}${path}: ${answer.status}, ${problemOf(text)}${hint}`);
  } finally {
    client[Symbol.dispose]();
  }
}

/** What a refusal says: the text of the shim's own problem, or the beginning of whatever else answered. */
function problemOf(text: string): string {
  try {
    const { error } = JSON.parse(text) as { error?: unknown };
    if (typeof error === "string") return error;
  } catch {
    // Not the shim: a proxy in front of it, or another program on its port.
  }
  return text.slice(0, 300).trim() || "without a word";
}
