/**
 * Remembers, for a short time, who a connection's last request came from, so that a controller that keeps its connection open is not hashed and compared
 * with every token at every request. What is remembered is the credential that this very connection sent and that was accepted; the next request's is
 * compared with it in constant time. A token that is taken back or runs out is refused within a second.
 */
import { timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import { type Caller, isRefusal, type Refusal, type TokenRequest } from "./tokens.ts";

/** How long an accepted credential is believed without asking again, milliseconds. */
const REMEMBER_MS = 1_000;
/** Longer credentials are compared the long way every time. */
const MAX_BYTES = 512;

interface CachedCredential {
  readonly credential: Buffer;
  readonly caller: Caller;
  readonly untilMs: number;
}

/** Says who is calling: a token file, a fixed store. */
export interface Authenticator {
  authenticate(request: TokenRequest): Caller | Refusal;
}

/** Asks the doorkeeper, or remembers what it said about the same credential on the same connection. */
export function cacheByConnection(doorkeeper: Authenticator, clock: Clock): (request: IncomingMessage) => Caller | Refusal {
  const known = new WeakMap<Socket, CachedCredential>();
  const scratch = Buffer.alloc(MAX_BYTES);
  return (request) => {
    const credential = onlyAuthorization(request.rawHeaders);
    const before = credential === undefined ? undefined : known.get(request.socket);
    if (before !== undefined && credential !== undefined && clock.monotonicMs() < before.untilMs) {
      const { length } = before.credential;
      const same = credential.length === length && scratch.write(credential, 0, "latin1") === length;
      if (same && timingSafeEqual(scratch.subarray(0, length), before.credential)) return before.caller;
    }
    const answer = authenticate(doorkeeper, request);
    if (!isRefusal(answer) && credential !== undefined && credential.length <= MAX_BYTES) {
      const bytes = Buffer.from(credential, "latin1");
      known.set(request.socket, { credential: bytes, caller: answer, untilMs: clock.monotonicMs() + REMEMBER_MS });
    }
    return answer;
  };
}

/** `headers` keeps only the first of several Authorization values; the others count too, but they are rare and reading them is slow. */
function authenticate(doorkeeper: Authenticator, request: IncomingMessage): Caller | Refusal {
  const first = doorkeeper.authenticate(request as TokenRequest);
  if (!isRefusal(first)) return first;
  return doorkeeper.authenticate({ headers: request.headersDistinct, url: request.url });
}

/** The Authorization value, when there is exactly one; other ways to send a token are compared the long way. */
function onlyAuthorization(rawHeaders: readonly string[]): string | undefined {
  let found: string | undefined;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!;
    if (name.length !== 13 || name.toLowerCase() !== "authorization") continue;
    if (found !== undefined) return undefined;
    found = rawHeaders[index + 1];
  }
  return found;
}
