/** Reading requests: bounded bodies, bounded JSON. */
import type { IncomingMessage } from "node:http";
import { LIMITS } from "../limits.ts";

export type Body = { readonly ok: true; readonly text: string } | { readonly ok: false; readonly cause: "too_large" | "aborted" };

/**
 * Reads a request's body up to a limit. A body that announces or reaches more is given up at once, without reading on.
 * Slow senders are the server's business (`requestTimeout`).
 */
export function readBody(request: IncomingMessage, maxBytes: number = LIMITS.bodyBytes): Promise<Body> {
  const announced = request.headers["content-length"];
  if (announced !== undefined && Number(announced) > maxBytes) return Promise.resolve({ ok: false, cause: "too_large" });
  if (announced === "0") return Promise.resolve({ ok: true, text: "" });
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const done = (body: Body): void => {
      request.off("data", onData).off("end", onEnd).off("error", onGone).off("close", onGone);
      resolve(body);
    };
    const onData = (chunk: Buffer): void => {
      bytes += chunk.length;
      if (bytes <= maxBytes) return void chunks.push(chunk);
      request.pause();
      done({ ok: false, cause: "too_large" });
    };
    const onEnd = (): void => done({ ok: true, text: Buffer.concat(chunks).toString("utf8") });
    const onGone = (): void => done({ ok: false, cause: "aborted" });
    request.on("data", onData).on("end", onEnd).on("error", onGone).on("close", onGone);
  });
}

/**
 * Throws away what is left of a request whose answer is out already. Closing at once would reset the connection while the client still sends, and the
 * client would never see the answer; a client that sends without end is cut off.
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

/** Parses JSON no deeper than the limit; `undefined` for anything else. Linear in the length of the text. */
export function parseJson(source: string): unknown {
  if (!shallow(source, LIMITS.jsonDepth)) return undefined;
  try {
    return JSON.parse(source);
  } catch {
    return undefined;
  }
}

function shallow(source: string, maxDepth: number): boolean {
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

/** The host that a request was sent to, lower case, with its port if it has one; empty without a Host header. */
export function hostOf(request: IncomingMessage): string {
  return (request.headers.host ?? "").toLowerCase();
}
