/**
 * Parses the log: one stored message to one typed input. A message that fails validation becomes an `unreadable` input with its
 * reason; nothing is dropped here and nothing throws.
 */

import type { StoredMessage } from "@aviary/shared/bus/bus.ts";
import { MAX_CONTROL_BYTES, parseControl } from "@aviary/shared/contract/control.ts";
import type { DeadReason } from "@aviary/shared/contract/dead.ts";
import { MAX_SIGNAL_BYTES, parseSignal, type Signal } from "@aviary/shared/contract/signal.ts";
import { type InputSubject, parseInputSubject } from "@aviary/shared/contract/subjects.ts";
import { parseJsonBytes } from "@aviary/shared/runtime/json.ts";
import type { Input, UnreadableInput } from "../core/inputs.ts";
import { gatewayKey } from "../core/resolved-config.ts";

/** Number of cached subject parses; a fleet has gateways × kinds of them. The cache is cleared beyond it. */
const MAX_REMEMBERED = 20_000;

export type ReadInput = (message: StoredMessage) => Input;

type SignalSender = Extract<InputSubject, { family: "signal" }> & { readonly key: string };
type InputSender = SignalSender | Extract<InputSubject, { family: "control" }>;

function readSender(subject: string): InputSender | null {
  const parsed = parseInputSubject(subject);
  if (parsed === undefined) return null;
  return parsed.family === "control" ? parsed : { ...parsed, key: gatewayKey(parsed.az, parsed.fleet, parsed.gateway) };
}

/** A reader with its own subject cache. */
export function createInputReader(): ReadInput {
  const remembered = new Map<string, InputSender | null>();
  const senderOf = (subject: string): InputSender | null => {
    let sender = remembered.get(subject);
    if (sender === undefined) {
      if (remembered.size >= MAX_REMEMBERED) remembered.clear();
      sender = readSender(subject);
      remembered.set(subject, sender);
    }
    return sender;
  };
  return (message) => {
    const subject = senderOf(message.subject);
    if (subject === null) return unreadable(message, "bad_subject", `unknown subject ${message.subject}`);
    return subject.family === "signal" ? readSignal(message, subject) : readControl(message, subject);
  };
}

function readSignal(message: StoredMessage, subject: SignalSender): Input {
  if (message.data.length > MAX_SIGNAL_BYTES)
    return unreadable(message, "too_large", `${message.data.length} bytes; a signal has at most ${MAX_SIGNAL_BYTES}`);
  const value = parseJsonBytes(message.data);
  if (value === undefined) return unreadable(message, "bad_json", "not JSON");
  const parsed = parseSignal(value);
  if (!parsed.success) return unreadable(message, versionReason(value), issueText(parsed.error.issues));
  const signal: Signal = parsed.data;
  if (
    signal.az !== subject.az ||
    signal.fleet !== subject.fleet ||
    signal.gateway !== subject.gateway ||
    signal.kind !== subject.kind
  ) {
    return unreadable(
      message,
      "wrong_identity",
      `the payload is from ${signal.az}.${signal.fleet}.${signal.gateway}.${signal.kind}, which contradicts the subject`,
    );
  }
  if (signal.kind === "http" && signal.body.errors_5xx > signal.body.requests) {
    return unreadable(message, "impossible_counts", `${signal.body.errors_5xx} errors in ${signal.body.requests} requests`);
  }
  return { kind: "signal", sequence: message.sequence, storedAtMs: message.storedAtMs, signal, gateway: subject.key };
}

function readControl(message: StoredMessage, subject: Extract<InputSubject, { family: "control" }>): Input {
  if (message.data.length > MAX_CONTROL_BYTES)
    return unreadable(message, "too_large", `${message.data.length} bytes; a control message has at most ${MAX_CONTROL_BYTES}`);
  const value = parseJsonBytes(message.data);
  if (value === undefined) return unreadable(message, "bad_json", "not JSON");
  const parsed = parseControl(value);
  if (!parsed.success) return unreadable(message, versionReason(value), issueText(parsed.error.issues));
  if (parsed.data.verb !== subject.verb)
    return unreadable(message, "wrong_identity", `the payload is ${parsed.data.verb}; the subject is ${subject.verb}`);
  return {
    kind: "control",
    sequence: message.sequence,
    storedAtMs: message.storedAtMs,
    fleet: subject.fleet,
    canary: subject.canary,
    control: parsed.data,
  };
}

/** The client already returns a Buffer, and copying it costs as much as parsing it. */
const text = (data: Uint8Array, length: number): string =>
  (Buffer.isBuffer(data) ? data : Buffer.from(data.buffer, data.byteOffset, data.length)).toString("utf8", 0, length);

function versionReason(value: unknown): DeadReason {
  const version = typeof value === "object" && value !== null ? (value as { v?: unknown }).v : undefined;
  return version !== undefined && version !== 1 ? "unknown_version" : "bad_shape";
}

function issueText(issues: readonly { readonly path: readonly PropertyKey[]; readonly message: string }[]): string {
  return issues
    .slice(0, 3)
    .map((issue) => `${issue.path.map(String).join(".") || "(whole)"}: ${issue.message}`)
    .join("; ")
    .slice(0, 300);
}

function unreadable(message: StoredMessage, reason: DeadReason, why: string): UnreadableInput {
  const excerpt = text(message.data, 512).replace(/[\u0000-\u001f\u007f]/g, " ");
  return {
    kind: "unreadable",
    sequence: message.sequence,
    storedAtMs: message.storedAtMs,
    subject: message.subject,
    reason,
    text: why,
    excerpt,
  };
}
