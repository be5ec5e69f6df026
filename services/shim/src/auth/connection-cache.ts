/**
 * Caches the last accepted credential per connection for a second, so that requests on a kept-alive connection skip hashing and
 * comparing every token. The next credential is compared with the cached one in constant time. A revoked or expired token is
 * therefore rejected within a second.
 */
import { timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import { type AuthRejection, type Caller, isRejection, type TokenRequest } from "./tokens.ts";

/** How long an accepted credential is cached. */
const CACHED_MS = 1_000;
/** Longer credentials are never cached. */
const MAX_BYTES = 512;

interface CachedCredential {
  readonly credential: Buffer;
  readonly caller: Caller;
  readonly untilMs: number;
}

/** Authenticates requests: a token file, or a fixed store. */
export interface Authenticator {
  authenticate(request: TokenRequest): Caller | AuthRejection;
}

/** Wraps an authenticator with a cache per connection. */
export function cacheByConnection(
  authenticator: Authenticator,
  clock: Clock,
): (request: IncomingMessage) => Caller | AuthRejection {
  const cache = new WeakMap<Socket, CachedCredential>();
  const scratch = Buffer.alloc(MAX_BYTES);
  return (request) => {
    const credential = onlyAuthorization(request.rawHeaders);
    const cached = credential === undefined ? undefined : cache.get(request.socket);
    if (cached !== undefined && credential !== undefined && clock.monotonicMs() < cached.untilMs) {
      const { length } = cached.credential;
      const isSameLength = credential.length === length && scratch.write(credential, 0, "latin1") === length;
      if (isSameLength && timingSafeEqual(scratch.subarray(0, length), cached.credential)) return cached.caller;
    }
    const answer = authenticate(authenticator, request);
    if (!isRejection(answer) && credential !== undefined && credential.length <= MAX_BYTES) {
      const bytes = Buffer.from(credential, "latin1");
      cache.set(request.socket, { credential: bytes, caller: answer, untilMs: clock.monotonicMs() + CACHED_MS });
    }
    return answer;
  };
}

/**
 * `headers` keeps only the first of several Authorization values; the slower `headersDistinct` is read only when that one is
 * rejected.
 */
function authenticate(authenticator: Authenticator, request: IncomingMessage): Caller | AuthRejection {
  const first = authenticator.authenticate(request as TokenRequest);
  if (!isRejection(first)) return first;
  return authenticator.authenticate({ headers: request.headersDistinct, url: request.url });
}

/** The Authorization value if there is exactly one; other ways to send a token are never cached. */
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
