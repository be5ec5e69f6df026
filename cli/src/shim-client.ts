/** The shim's own API, called with the operator's token. */
import type { CommandIo } from "@aviary/shared/commands/command.ts";
import type { LaneRecord } from "@aviary/shared/contract/lane.ts";
import type { VerdictBody } from "@aviary/shared/contract/verdict.ts";
import { faultCode, terminal } from "@aviary/shared/runtime/faults.ts";
import { createHttpClient } from "@aviary/shared/runtime/http-client.ts";

/** A canary as the API returns it. */
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

export interface ShimClient {
  readonly url: string;
  readonly token: string;
}

const TIMEOUT_MS = 5_000;
const MAX_BYTES = 4 * 1024 * 1024;
const MAX_ERROR_CHARS = 300;

/** The shim's address and the operator's token. @throws Terminal `not_configured` that names the variable to set */
export function shimOf({ env: { AVIARY_URL: url, AVIARY_TOKEN: token } }: CommandIo): ShimClient {
  if (!url || !token) {
    throw terminal(
      "not_configured",
      "set AVIARY_URL (the shim, for example http://127.0.0.1:8080) and AVIARY_TOKEN (an operator's token), or start the local fleet with `npm start`",
    );
  }
  if (!/^https?:$/.test(URL.parse(url)?.protocol ?? ""))
    throw terminal("not_configured", `AVIARY_URL is ${JSON.stringify(url)}: expected a URL such as http://127.0.0.1:8080`);
  return { url: url.replace(/\/+$/, ""), token };
}

/**
 * Sends one GET. @throws a fault with the shim's error text if it rejects, or with the variable to check if it is unreachable
 */
export async function getFromShim<T>({ url, token }: ShimClient, path: string, signal: AbortSignal): Promise<T> {
  const client = createHttpClient({ loopback: true, allow: [new URL(url).hostname] });
  try {
    const response = await client
      .send({
        url: `${url}${path}`,
        headers: { authorization: `Bearer ${token}` },
        timeoutMs: TIMEOUT_MS,
        maxBytes: MAX_BYTES,
        accept: () => true,
        signal,
      })
      .catch((error: unknown) => {
        const hint = "AVIARY_URL is the address of the shim (`npm start` starts a local one)";
        throw terminal(faultCode(error), `${(error as Error).message}; ${hint}`, error);
      });
    const text = response.body.toString();
    if (response.status === 200) return JSON.parse(text) as T;
    const hint = response.status === 401 ? "; check AVIARY_TOKEN" : "";
    throw terminal("refused", `${url}${path}: ${response.status}, ${errorTextOf(text)}${hint}`);
  } finally {
    client[Symbol.dispose]();
  }
}

/** The error text of the shim, or the beginning of the body if another server responded. */
function errorTextOf(body: string): string {
  try {
    const { error } = JSON.parse(body) as { error?: unknown };
    if (typeof error === "string") return error;
  } catch {
    // Not the shim: a proxy in front of it, or another program on its port.
  }
  return body.slice(0, MAX_ERROR_CHARS).trim() || "empty response";
}
