/** HTTP responses. Every response has a body and a length; the shim never sends 204, a redirect or `Retry-After`. */
import type { ServerResponse } from "node:http";

export interface Reply {
  readonly status: number;
  readonly type: string;
  readonly body: string | Buffer;
  /** Additional headers, as a flat list of names and values. */
  readonly headers?: readonly string[];
}

export const JSON_TYPE = "application/json";
const TEXT_TYPE = "text/plain; charset=utf-8";

/** 200 with serialized JSON. */
export const jsonText = (body: string): Reply => ({ status: 200, type: JSON_TYPE, body });
/** 200 with serialized JSON as bytes, which must not be changed afterwards. */
export const jsonBytes = (body: Buffer): Reply => ({ status: 200, type: JSON_TYPE, body });
export const json = (value: unknown): Reply => jsonText(JSON.stringify(value));
export const plainText = (status: number, line: string): Reply => ({ status, type: TEXT_TYPE, body: `${line}\n` });

/** An error in the shape of the Prometheus API, whose clients display it. */
export function problem(status: number, errorType: string, error: string, headers?: readonly string[]): Reply {
  const body = JSON.stringify({ status: "error", errorType, error });
  return headers === undefined ? { status, type: JSON_TYPE, body } : { status, type: JSON_TYPE, body, headers };
}

/** The response to every unauthenticated request, identical for every cause. */
export const UNAUTHORIZED: Reply = problem(401, "unauthorized", "a valid token is required: Bearer, Basic or X-API-Key", [
  "WWW-Authenticate",
  'Basic realm="aviary", charset="UTF-8"',
]);

/** Sends a reply. */
export function send(response: ServerResponse, reply: Reply): void {
  const headers = [
    "Content-Type",
    reply.type,
    "Content-Length",
    String(Buffer.byteLength(reply.body)),
    "Cache-Control",
    "no-store",
  ];
  if (reply.headers !== undefined) headers.push(...reply.headers);
  response.writeHead(reply.status, headers);
  response.end(reply.body);
}
