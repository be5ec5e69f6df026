/** Reads requests: bodies and JSON within limits. */
import type { IncomingMessage } from "node:http";
import { LIMITS } from "../limits.ts";

export type Body = { readonly ok: true; readonly text: string } | { readonly ok: false; readonly cause: "too_large" | "aborted" };

/**
 * Reads a request's body up to a limit. Stops reading as soon as the body declares or exceeds more.
 * Slow senders are handled by the server's `requestTimeout`.
 */
export function readBody(request: IncomingMessage, maxBytes: number = LIMITS.bodyBytes): Promise<Body> {
  const announced = request.headers["content-length"];
  if (announced !== undefined && Number(announced) > maxBytes) return Promise.resolve({ ok: false, cause: "too_large" });
  if (announced === "0") return Promise.resolve({ ok: true, text: "" });
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const finish = (body: Body): void => {
      request.off("data", onData).off("end", onEnd).off("error", onGone).off("close", onGone);
      resolve(body);
    };
    const onData = (chunk: Buffer): void => {
      bytes += chunk.length;
      if (bytes <= maxBytes) return void chunks.push(chunk);
      request.pause();
      finish({ ok: false, cause: "too_large" });
    };
    const onEnd = (): void => finish({ ok: true, text: Buffer.concat(chunks).toString("utf8") });
    const onGone = (): void => finish({ ok: false, cause: "aborted" });
    request.on("data", onData).on("end", onEnd).on("error", onGone).on("close", onGone);
  });
}

/**
 * Discards the rest of a request that has been answered. Closing immediately would reset the connection while the client still
 * sends, and the client would lose the response. A client that exceeds the limit is disconnected.
 */
export function discardBody(request: IncomingMessage): void {
  let bytes = 0;
  request.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > LIMITS.discardedBytes) request.destroy();
  });
  request.on("error", () => {});
  request.resume();
}

/** Parses JSON within the depth limit; `undefined` for anything else. Linear in the length of the text. */
export function parseJson(source: string): unknown {
  if (!isWithinDepth(source, LIMITS.jsonDepth)) return undefined;
  try {
    return JSON.parse(source);
  } catch {
    return undefined;
  }
}

function isWithinDepth(source: string, maxDepth: number): boolean {
  let depth = 0;
  let inString = false;
  for (let index = 0; index < source.length; index += 1) {
    const code = source.charCodeAt(index);
    if (inString) {
      if (code === 0x5c) index += 1;
      else if (code === 0x22) inString = false;
    } else if (code === 0x22) inString = true;
    else if (code === 0x7b || code === 0x5b) {
      depth += 1;
      if (depth > maxDepth) return false;
    } else if (code === 0x7d || code === 0x5d) depth -= 1;
  }
  return true;
}

/** The Host header in lower case, with its port if any; empty without one. */
export function hostOf(request: IncomingMessage): string {
  return (request.headers.host ?? "").toLowerCase();
}
