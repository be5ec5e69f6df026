/** One HTTP GET, classified for `core/health.ts`. */

import { faultCode } from "@aviary/shared/runtime/faults.ts";
import type { HttpClient } from "@aviary/shared/runtime/http-client.ts";
import { parseJsonBytes } from "@aviary/shared/runtime/json.ts";
import type { ProbeResult } from "../core/health.ts";
import { SYNTHETIC_AGENT } from "../core/request-class.ts";

export interface GetRequest {
  readonly url: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

const MAX_BODY_BYTES = 65_536;
const UNREACHABLE: ReadonlySet<string> = new Set(["refused", "reset", "no_such_host", "unreachable"]);

/** Returns a result for every HTTP status and network failure. Rejects only with the signal's reason. */
export async function httpGet(http: HttpClient, request: GetRequest): Promise<ProbeResult> {
  const { url, timeoutMs, signal } = request;
  try {
    const response = await http.send({
      url,
      timeoutMs,
      maxBytes: MAX_BODY_BYTES,
      accept: () => true,
      signal,
      // Some requests pass through the load balancer, and access logs must not count them as user traffic.
      headers: { accept: "application/json", "user-agent": SYNTHETIC_AGENT },
    });
    const { status } = response;
    const value = isJson(response.headers["content-type"]) ? parseJsonBytes(response.body) : undefined;
    return value === undefined ? { kind: "other", status } : { kind: "json", status, value };
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    const code = faultCode(error);
    if (code === "timeout") return { kind: "timeout" };
    return UNREACHABLE.has(code) ? { kind: "refused" } : { kind: "failed", code };
  }
}

function isJson(type: string | undefined): boolean {
  return type !== undefined && /^application\/(?:[a-z0-9.-]+\+)?json(?:\s*;|$)/i.test(type);
}
