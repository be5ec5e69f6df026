/** Performs one HTTP GET and returns a result that `core/health.ts` distinguishes. */

import { faultCode } from "@aviary/shared/runtime/faults.ts";
import type { HttpClient } from "@aviary/shared/runtime/http-client.ts";
import { parseJsonBytes } from "@aviary/shared/runtime/json.ts";
import { SYNTHETIC_AGENT } from "../core/access-line.ts";
import type { ProbeResult } from "../core/health.ts";

export interface GetRequest {
  readonly url: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

const MAX_BODY_BYTES = 65_536;
const UNREACHABLE: ReadonlySet<string> = new Set(["refused", "reset", "no_such_host", "unreachable"]);

/** Every status is a result. Rejects only with the signal's reason. */
export async function httpGet(http: HttpClient, question: GetRequest): Promise<ProbeResult> {
  const { url, timeoutMs, signal } = question;
  try {
    const answer = await http.send({
      url,
      timeoutMs,
      maxBytes: MAX_BODY_BYTES,
      accept: () => true,
      signal,
      // Some requests pass through the balancer: no access log may count them as users.
      headers: { accept: "application/json", "user-agent": SYNTHETIC_AGENT },
    });
    const { status } = answer;
    const value = isJson(answer.headers["content-type"]) ? parseJsonBytes(answer.body) : undefined;
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
