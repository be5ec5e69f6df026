/** Message headers as NATS expects them. */
import type { MsgHdrs } from "@nats-io/nats-core";
import { terminal } from "../runtime/faults.ts";
import type { Headers } from "./bus.ts";

/**
 * Headers in wire format, encoded once: the client's own header type validates and copies at every send.
 * The format is one line per header after `NATS/1.0` (https://docs.nats.io/reference/reference-protocols/nats-protocol#hpub).
 */
export function encodeHeaders(id: string | undefined, headers: Headers | undefined): MsgHdrs | undefined {
  if (id === undefined && headers === undefined) return undefined;
  let text = "NATS/1.0\r\n";
  if (id !== undefined) text += headerLine("Nats-Msg-Id", id);
  if (headers !== undefined) for (const name of Object.keys(headers)) text += headerLine(name, headers[name] as string);
  const bytes = Buffer.from(`${text}\r\n`);
  return { encode: () => bytes } as unknown as MsgHdrs;
}

function headerLine(name: string, value: string): string {
  if (/[\r\n]/.test(value) || /[\r\n:]/.test(name))
    throw terminal("publish_invalid", `header ${JSON.stringify(name)} contains a line break or colon`);
  return `${name}: ${value}\r\n`;
}
