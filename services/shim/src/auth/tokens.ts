/**
 * Authentication by token: identifies the caller and its class.
 *
 * The token file contains SHA-256 hashes only. Every candidate is hashed and compared with every entry by `timingSafeEqual`,
 * without an early exit, so valid, invalid and expired tokens take the same time. A rejection never echoes the credentials.
 * Rotation: `token-rotation.ts`.
 */
import { hash, randomBytes, timingSafeEqual } from "node:crypto";
import { CALLER_CLASSES, type CallerClass } from "@aviary/shared/contract/fleet.ts";
import { z } from "zod";

export const tokenEntrySchema = z.strictObject({
  /** The caller's id; its current and its previous token share it. */
  id: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, "a name of a-z, 0-9, '.', '_', '-'"),
  sha256: z.string().regex(/^[0-9a-f]{64}$/, "64 lower-case hex digits"),
  caller: z.enum(CALLER_CLASSES),
  /** The Kubernetes namespaces that this token may read; all by default. */
  namespaces: z
    .array(z.string().regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "the name of a Kubernetes namespace"))
    .min(1)
    .max(64)
    .optional(),
  /** The token is rejected from this time on. */
  notAfter: z.iso
    .datetime({ offset: true })
    .transform((text) => Date.parse(text))
    .optional(),
});

/** `tokens.yaml`: at most 64 entries, because every token is compared with all of them. */
export const tokenFileSchema = z.array(tokenEntrySchema).max(64);
export type TokenEntry = z.output<typeof tokenEntrySchema>;

export interface Caller {
  /** The first 8 hex digits of the token's hash, which logs may show. */
  readonly tokenId: string;
  readonly id: string;
  readonly class: CallerClass;
  /** Null for all. */
  readonly namespaces: readonly string[] | null;
}

export type AuthRejectionCode =
  | "missing_credentials"
  | "malformed_credentials"
  | "unknown_token"
  | "expired_token"
  | "token_in_query";

/** Why a request is rejected, for logs and incidents. The response must be the same for every code. */
export interface AuthRejection {
  readonly rejected: AuthRejectionCode;
  readonly text: string;
  /** Only for a token in the file. */
  readonly tokenId?: string;
}

/**
 * The parts of a request that can carry a token. With `node:http`, pass `headersDistinct`: `headers` drops every
 * `authorization` value but the first, and Flagger sends the stale one first when a MetricTemplate has both headers and a
 * token.
 */
export interface TokenRequest {
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly url?: string | undefined;
}

export interface TokenUse {
  readonly id: string;
  readonly tokenId: string;
  readonly class: CallerClass;
  readonly notAfterMs: number | null;
  /** When this process last accepted the token, milliseconds since the epoch; null if never. */
  readonly lastSeenAtMs: number | null;
}

/** Maximum number of candidates per request; the last ones count. */
const MAX_CANDIDATES = 64;
const MAX_TOKEN_CHARS = 512;
const MAX_QUERY_CHARS = 8_192;

/** Whether a result of `authenticate` is a rejection. */
export function isRejection(answer: Caller | AuthRejection): answer is AuthRejection {
  return "rejected" in answer;
}

/** Whether a caller may read a namespace. */
export function mayAccess(caller: Caller, namespace: string): boolean {
  return caller.namespaces === null || caller.namespaces.includes(namespace);
}

/** The hash of a token in `tokens.yaml`: 64 lower-case hex digits. */
export function hashToken(token: string): string {
  return hash("sha256", token, "hex");
}

/** Generates a token of 256 random bits. The prefix `avy_` makes it recognizable for redaction and secret scanners. */
export function generateToken(): { readonly token: string; readonly sha256: string } {
  const token = `avy_${randomBytes(32).toString("base64url")}`;
  return { token, sha256: hashToken(token) };
}

/** The entries of a token file, prepared for comparison. */
export interface TokenStore {
  /** Authenticates a request at `nowMs` (milliseconds since the epoch). */
  authenticate(request: TokenRequest, nowMs: number): Caller | AuthRejection;
  /** All entries with their last use, which a rotation checks before it removes the previous token. */
  uses(): readonly TokenUse[];
  /** Replaces the entries and keeps their last use. Validates nothing: see `checkTokenFile` in `token-rotation.ts`. */
  replace(entries: readonly TokenEntry[]): void;
}

/** Scratch buffer for the hash under comparison: 64 hex digits. */
const DIGEST = Buffer.alloc(64);

interface PreparedEntry {
  readonly caller: Caller;
  /** 64 hex digits as bytes. */
  readonly digest: Buffer;
  readonly notAfter: number;
}

/** Creates a store of the given entries. */
export function createTokenStore(entries: readonly TokenEntry[]): TokenStore {
  let known: readonly PreparedEntry[] = entries.map(prepare);
  const lastSeenAtMs = new Map<string, number>();
  return {
    authenticate: (request, nowMs) => {
      const found = candidatesOf(request);
      const answer = compare(known, found, nowMs);
      if (!isRejection(answer)) lastSeenAtMs.set(answer.tokenId, nowMs);
      return answer;
    },
    uses: () =>
      known.map(({ caller, notAfter }) => ({
        id: caller.id,
        tokenId: caller.tokenId,
        class: caller.class,
        notAfterMs: Number.isFinite(notAfter) ? notAfter : null,
        lastSeenAtMs: lastSeenAtMs.get(caller.tokenId) ?? null,
      })),
    replace: (next) => {
      known = next.map(prepare);
      const kept = new Set(known.map(({ caller }) => caller.tokenId));
      for (const tokenId of lastSeenAtMs.keys()) if (!kept.has(tokenId)) lastSeenAtMs.delete(tokenId);
    },
  };
}

function prepare(entry: TokenEntry): PreparedEntry {
  const caller: Caller = {
    tokenId: entry.sha256.slice(0, 8),
    id: entry.id,
    class: entry.caller,
    namespaces: entry.namespaces ?? null,
  };
  return { caller, digest: Buffer.from(entry.sha256, "latin1"), notAfter: entry.notAfter ?? Number.POSITIVE_INFINITY };
}

function compare(known: readonly PreparedEntry[], candidates: Candidates, nowMs: number): Caller | AuthRejection {
  let accepted: PreparedEntry | undefined;
  let expired: PreparedEntry | undefined;
  let misplaced: PreparedEntry | undefined;
  for (const { token, inQuery } of candidates.list) {
    // Writing hex into a scratch buffer costs a third of allocating a buffer per hash.
    DIGEST.write(hash("sha256", token, "hex"), "latin1");
    for (const entry of known) {
      const same = timingSafeEqual(DIGEST, entry.digest);
      if (!same) continue;
      if (nowMs >= entry.notAfter) expired = entry;
      // URLs end up in access logs; only KEDA's apiKey mode has no alternative.
      else if (inQuery && entry.caller.class !== "keda") misplaced = entry;
      else accepted = entry;
    }
  }
  if (accepted !== undefined) return accepted.caller;
  if (expired !== undefined) {
    return { rejected: "expired_token", text: `the token ${expired.caller.id} has expired`, tokenId: expired.caller.tokenId };
  }
  if (misplaced !== undefined) {
    return {
      rejected: "token_in_query",
      text: "only a KEDA token may be sent in the query; use a header",
      tokenId: misplaced.caller.tokenId,
    };
  }
  if (candidates.list.length > 0) return { rejected: "unknown_token", text: "unknown token" };
  if (candidates.wereSent)
    return { rejected: "malformed_credentials", text: "the credentials are neither Bearer, Basic nor an API key" };
  return { rejected: "missing_credentials", text: "no credentials" };
}

interface Candidates {
  readonly list: readonly { readonly token: string; readonly inQuery: boolean }[];
  /** Whether credentials were sent, readable or not. */
  readonly wereSent: boolean;
}

/**
 * Collects the tokens of a request: every Authorization value, X-API-Key, the `api_key` query. On the hot path, hence plain
 * loops.
 */
function candidatesOf(request: TokenRequest): Candidates {
  const tokens: string[] = [];
  let sent = 0;
  for (const value of valuesOf(request.headers.authorization)) {
    sent += 1;
    // Proxies may join several values of one header with commas (RFC 9110, 5.3).
    if (!value.includes(",")) addAuthorization(tokens, value);
    else for (const part of value.split(/,\s*(?=(?:Bearer|Basic)\s)/i)) addAuthorization(tokens, part);
  }
  for (const value of valuesOf(request.headers["x-api-key"])) {
    sent += 1;
    addToken(tokens, value);
  }
  const distinct = tokens.length < 2 ? tokens : [...new Set(tokens)].slice(-MAX_CANDIDATES);
  const list = distinct.map((token) => ({ token, inQuery: false }));
  for (const token of tokensOfQuery(request.url ?? "")) {
    sent += 1;
    if (isUsable(token)) list.push({ token, inQuery: true });
  }
  return { list, wereSent: sent > 0 };
}

const NONE: readonly string[] = [];

function valuesOf(header: string | readonly string[] | undefined): readonly string[] {
  return header === undefined ? NONE : typeof header === "string" ? [header] : header;
}

function isUsable(token: string): boolean {
  return token.length > 0 && token.length <= MAX_TOKEN_CHARS;
}

function addToken(tokens: string[], token: string): void {
  if (isUsable(token)) tokens.push(token);
}

function addAuthorization(tokens: string[], value: string): void {
  const match = /^\s*(?:(Bearer)|Basic)\s+(\S+)\s*$/i.exec(value);
  if (match?.[2] === undefined) return;
  if (match[1] !== undefined) {
    addToken(tokens, match[2]);
    return;
  }
  // Flagger's webhooks carry a secret only in the URL's userinfo, which Go sends as Basic: as the password, or by itself as the
  // user name.
  const pair = Buffer.from(match[2].slice(0, 2 * MAX_TOKEN_CHARS), "base64").toString("utf8");
  const colon = pair.indexOf(":");
  if (colon >= 0) addToken(tokens, pair.slice(colon + 1));
  addToken(tokens, colon < 0 ? pair : pair.slice(0, colon));
}

function tokensOfQuery(url: string): readonly string[] {
  const start = url.indexOf("?");
  if (start < 0 || url.length - start > MAX_QUERY_CHARS || !url.includes("api_key", start)) return NONE;
  return new URLSearchParams(url.slice(start + 1)).getAll("api_key").slice(0, 2);
}
