/** The stream's response to a published message. */
import type { Msg } from "@nats-io/nats-core";
import { type Fault, terminal } from "../runtime/faults.ts";
import type { Stored } from "./bus.ts";

/** JetStream error codes: https://github.com/nats-io/nats-server/blob/main/server/errors.json */
const WRONG_LAST_SEQUENCE = new Set([10071, 10164]);
const DUPLICATE_IN_PROCESS = 10158;

export type PublishResponse =
  | { readonly kind: "stored"; readonly stored: Stored }
  | { readonly kind: "retry"; readonly reason: string }
  | { readonly kind: "refused"; readonly fault: Fault };

interface PubAck {
  readonly stream?: string;
  readonly seq?: number;
  readonly duplicate?: boolean;
  readonly error?: { readonly code: number; readonly err_code?: number; readonly description?: string };
}

/** The stream's response to one message; conditions that may pass are `retry`. */
export function readResponse(message: Msg): PublishResponse {
  // Only the server itself responds without a body: the subject has no subscriber (503).
  if (message.data.length === 0) return { kind: "retry", reason: "no stream has this subject, or JetStream is unavailable" };
  let ack: PubAck;
  try {
    ack = JSON.parse(message.string()) as PubAck;
  } catch {
    return { kind: "retry", reason: "the response is not JSON" };
  }
  if (ack.error === undefined && ack.stream !== undefined && ack.seq !== undefined) {
    return { kind: "stored", stored: { stream: ack.stream, sequence: ack.seq, duplicate: ack.duplicate === true } };
  }
  const { code = 0, err_code: detail = 0, description = "the response is not a publish acknowledgement" } = ack.error ?? {};
  if (code === 0 || code === 429 || code >= 500 || detail === DUPLICATE_IN_PROCESS) return { kind: "retry", reason: description };
  if (WRONG_LAST_SEQUENCE.has(detail)) return { kind: "refused", fault: terminal("conflict", description) };
  return { kind: "refused", fault: terminal("publish_refused", `the stream rejected the message: ${description} (${detail})`) };
}
