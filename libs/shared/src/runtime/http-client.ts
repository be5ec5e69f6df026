/**
 * The only HTTP client. Every call has a deadline and a size limit, follows no redirect, and reaches only allowed schemes and
 * addresses.
 * Every failure is a fault with one of these codes:
 *
 *     retryable  refused · timeout · reset · no_such_host · unreachable · network · bad_status (408, 425, 429, 5xx)
 *     terminal   redirect · too_large · not_http · tls · bad_url · scheme_denied · address_denied · bad_request · bad_status (others)
 *
 * One call:  connecting ──connected──▶ waiting ──headers──▶ reading ──end──▶ answer
 *            any of them ──deadline──▶ timeout · ──connection lost──▶ reset · ──caller's signal──▶ the signal's reason
 *
 * Connections are kept alive. A kept-alive connection that the server has just closed looks like a reset; such a GET or HEAD is
 * retried once on a new connection, within the same deadline.
 */
import { lookup as systemLookup } from "node:dns";
import {
  type ClientRequest,
  Agent as HttpAgent,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request as requestHttp,
} from "node:http";
import type { Agent as HttpsAgent } from "node:https";
import { isIP, type LookupFunction } from "node:net";
import type { PeerCertificate } from "node:tls";
import { deniedAddress, deniedName, plainHost } from "./address-policy.ts";
import { type Clock, systemClock } from "./clock.ts";
import { type Fault, Retryable, retryable, Terminal, terminal } from "./faults.ts";
import { redactText } from "./redact.ts";

/** PEM texts: authorities to trust instead of the system's, and the client's certificate. */
export interface HttpClientTls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** Whether a trusted certificate belongs to the server; by default, whether it contains the host. */
  readonly checkServerIdentity?: (host: string, certificate: PeerCertificate) => Error | undefined;
}

export interface HttpClientOptions {
  readonly clock?: Clock;
  /** `http:` and `https:` by default. */
  readonly schemes?: readonly string[];
  /** Hosts and addresses that may be called although the address policy denies them. */
  readonly allow?: readonly string[];
  /** Whether this machine's loopback addresses may be called, as by a collector; false by default. */
  readonly loopback?: boolean;
  /** Resolves names; the system's resolver by default. */
  readonly lookup?: typeof systemLookup;
  readonly tls?: HttpClientTls;
}

export interface HttpRequest {
  readonly url: string;
  readonly method?: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** For the whole call, from name resolution to the last byte. */
  readonly timeoutMs: number;
  /** The maximum body size. */
  readonly maxBytes: number;
  /** The accepted statuses; 200 to 299 by default. Redirects are never accepted. */
  readonly accept?: (status: number) => boolean;
  /** True if the path itself is a secret, as with webhook URLs: fault messages then contain the origin only. */
  readonly secretPath?: boolean;
  readonly signal?: AbortSignal;
}

export interface HttpResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly elapsedMs: number;
}

export interface HttpClient extends Disposable {
  /** Performs one call. Rejects with a `Retryable` or `Terminal` fault, or with the reason of the caller's signal. */
  send(request: HttpRequest): Promise<HttpResponse>;
}

const AGENT_LIMITS = { keepAlive: true, maxSockets: 16, maxTotalSockets: 64, maxFreeSockets: 4 } as const;
const MAX_HEADER_BYTES = 16_384;
const KEPT_CONNECTION_CLOSED = Symbol("stale keep-alive connection");

/** Creates a client with its own connections; disposing it closes them. */
export function createHttpClient(options: HttpClientOptions = {}): HttpClient {
  const clock = options.clock ?? systemClock;
  const schemes = new Set(options.schemes ?? ["http:", "https:"]);
  const loopback = options.loopback === true;
  const allowed = new Set((options.allow ?? []).map(plainHost));
  const lookup = guardedLookup(options.lookup ?? systemLookup, (address) =>
    allowed.has(plainHost(address)) ? undefined : deniedAddress(address, loopback),
  );
  const plainAgent = new HttpAgent(AGENT_LIMITS);
  // Loaded with the first https call: TLS costs megabytes that a client of loopback addresses never needs.
  const loadHttps = (): typeof import("node:https") => process.getBuiltinModule("node:https");
  let secureAgent: HttpsAgent | undefined;
  const secureAgentOf = (): HttpsAgent => {
    const { Agent } = loadHttps();
    secureAgent ??= new Agent({ ...AGENT_LIMITS, ...options.tls });
    return secureAgent;
  };

  const admit = (request: HttpRequest): URL => {
    if (!URL.canParse(request.url)) throw terminal("bad_url", "invalid URL");
    const url = new URL(request.url);
    if (!schemes.has(url.protocol)) throw terminal("scheme_denied", `the scheme ${url.protocol} is not allowed`);
    const host = plainHost(url.hostname);
    const denied = allowed.has(host) ? undefined : isIP(host) ? deniedAddress(host, loopback) : deniedName(host);
    if (denied !== undefined) throw terminal("address_denied", `${host} is ${denied}; add the host to allowHosts to allow it`);
    return url;
  };

  const open = (request: HttpRequest, url: URL, fresh: boolean): ClientRequest => {
    const secure = url.protocol === "https:";
    const host = plainHost(url.hostname);
    const length = request.body === undefined ? {} : { "content-length": String(Buffer.byteLength(request.body)) };
    return (secure ? loadHttps().request : requestHttp)({
      host,
      port: url.port === "" ? (secure ? 443 : 80) : Number(url.port),
      path: `${url.pathname}${url.search}`,
      method: request.method ?? "GET",
      headers: { "accept-encoding": "identity", ...request.headers, ...length, host: url.host },
      maxHeaderSize: MAX_HEADER_BYTES,
      ...(url.username === "" && url.password === ""
        ? {}
        : { auth: `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}` }),
      // The operator's list may contain a host whose addresses the policy would deny.
      ...(allowed.has(host) ? {} : { lookup }),
      agent: fresh ? false : secure ? secureAgentOf() : plainAgent,
      ...(fresh && secure ? options.tls : {}),
    });
  };

  return {
    send: async (request) => {
      const url = admit(request);
      const startedMs = clock.monotonicMs();
      const target = describeTarget(request, url);
      const once = (fresh: boolean): Promise<HttpResponse> =>
        exchange(() => open(request, url, fresh), request, target, clock, startedMs);
      try {
        return await once(false);
      } catch (error) {
        if (error === KEPT_CONNECTION_CLOSED) return await once(true);
        throw error;
      }
    },
    [Symbol.dispose]: () => {
      plainAgent.destroy();
      secureAgent?.destroy();
    },
  };
}

/** One request and its response; rejects with `KEPT_CONNECTION_CLOSED` if a retry is safe and useful. */
function exchange(
  open: () => ClientRequest,
  request: HttpRequest,
  target: string,
  clock: Clock,
  startedMs: number,
): Promise<HttpResponse> {
  return new Promise((resolve, reject) => {
    let phase: "connecting" | "waiting" | "reading" = "connecting";
    let call: ClientRequest | undefined;
    const { signal } = request;
    if (signal?.aborted) return reject(signal.reason);

    const finish = (): void => {
      cancelTimer();
      signal?.removeEventListener("abort", onAbort);
    };
    const giveUp = (reason: unknown): void => {
      finish();
      reject(reason);
      call?.destroy();
    };
    const onAbort = (): void => giveUp(signal?.reason);
    const leftMs = request.timeoutMs - (clock.monotonicMs() - startedMs);
    const cancelTimer = clock.setTimer(leftMs, () => {
      const missing = { connecting: "no connection", waiting: "no response", reading: "the response did not end" }[phase];
      giveUp(retryable("timeout", `${target}: ${missing} within ${request.timeoutMs} ms`));
    });
    signal?.addEventListener("abort", onAbort, { once: true });

    try {
      call = open();
    } catch (error) {
      return giveUp(terminal("bad_request", `${target}: cannot send the request (${codeOf(error)})`, error));
    }
    const sent = call;
    sent.on("socket", (socket) => {
      if (!socket.connecting) phase = "waiting";
      else
        socket.once("connect", () => {
          phase = "waiting";
        });
    });
    sent.on("error", (error) => {
      const repeatable = request.method === undefined || request.method === "GET" || request.method === "HEAD";
      if (sent.reusedSocket && repeatable && phase !== "reading" && codeOf(error) === "ECONNRESET")
        giveUp(KEPT_CONNECTION_CLOSED);
      else giveUp(classify(error, target));
    });
    sent.on("response", (response) => {
      phase = "reading";
      const rejection = rejectHead(response, request, target);
      if (rejection !== undefined) return giveUp(rejection);
      const chunks: Buffer[] = [];
      let size = 0;
      response.on("data", (chunk: Buffer) => {
        size += chunk.length;
        if (size > request.maxBytes) giveUp(tooLarge(request, target));
        else chunks.push(chunk);
      });
      response.on("error", (error) => giveUp(classify(error, target)));
      response.on("end", () => {
        finish();
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks, size),
          elapsedMs: clock.monotonicMs() - startedMs,
        });
      });
    });
    sent.end(request.body);
  });
}

/** The reason to reject a response by its head alone. */
function rejectHead(response: IncomingMessage, request: HttpRequest, target: string): Fault | undefined {
  const status = response.statusCode ?? 0;
  const { location } = response.headers;
  if (status >= 300 && status < 400 && (status !== 304 || location !== undefined)) {
    const origin = location !== undefined && URL.canParse(location) ? ` to ${new URL(location).origin}` : "";
    return terminal("redirect", `${target}: status ${status}, a redirect${origin}; configure the final address instead`);
  }
  const accept = request.accept ?? ((code: number) => code >= 200 && code < 300);
  if (!accept(status)) {
    const isTransient = status >= 500 || status === 408 || status === 425 || status === 429;
    return (isTransient ? retryable : terminal)("bad_status", `${target}: status ${status}`);
  }
  return request.method !== "HEAD" && Number(response.headers["content-length"]) > request.maxBytes
    ? tooLarge(request, target)
    : undefined;
}

function tooLarge(request: HttpRequest, target: string): Fault {
  return terminal("too_large", `${target}: the response is larger than ${request.maxBytes} bytes`);
}

const FAULT_CODES: Readonly<Record<string, readonly [code: string, text: string]>> = {
  ECONNREFUSED: ["refused", "connection refused"],
  ECONNRESET: ["reset", "connection lost"],
  ECONNABORTED: ["reset", "connection lost"],
  EPIPE: ["reset", "connection lost"],
  ETIMEDOUT: ["timeout", "the connection timed out"],
  ENOTFOUND: ["no_such_host", "the host name cannot be resolved"],
  EAI_AGAIN: ["no_such_host", "the name server does not respond"],
  EHOSTUNREACH: ["unreachable", "no route to the host"],
  ENETUNREACH: ["unreachable", "no route to the network"],
  EADDRNOTAVAIL: ["unreachable", "no local address can reach it"],
};

function classify(error: unknown, target: string): Fault {
  if (error instanceof Terminal || error instanceof Retryable) return error;
  const code = codeOf(error);
  const known = Object.hasOwn(FAULT_CODES, code) ? FAULT_CODES[code] : undefined;
  if (known !== undefined) return retryable(known[0], `${target}: ${known[1]}`, error);
  if (code === "HPE_HEADER_OVERFLOW")
    return terminal("too_large", `${target}: the response headers are larger than ${MAX_HEADER_BYTES} bytes`, error);
  if (code.startsWith("HPE_")) return terminal("not_http", `${target}: the response is not HTTP (${code})`, error);
  if (/^(ERR_TLS|ERR_SSL|EPROTO|CERT_|UNABLE_TO_|DEPTH_ZERO|SELF_SIGNED|HOSTNAME_)/.test(code))
    return terminal("tls", `${target}: TLS failed (${code})`, error);
  return retryable("network", `${target}: the connection failed (${code})`, error);
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string"
    ? error.code
    : error instanceof Error
      ? error.name
      : "unknown";
}

/** The target as shown in messages: without user name, password and query, which may be secrets. */
function describeTarget(request: HttpRequest, url: URL): string {
  return redactText(`${request.method ?? "GET"} ${url.origin}${request.secretPath === true ? "" : url.pathname}`);
}

/**
 * Resolves a name and returns its addresses only if none is denied; the connection uses exactly these, so that a second
 * resolution cannot yield others.
 */
function guardedLookup(lookup: typeof systemLookup, denied: (address: string) => string | undefined): LookupFunction {
  return (name, options, callback) => {
    lookup(name, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return callback(error, "", 0);
      const first = addresses[0];
      const bad = addresses.find(({ address }) => denied(address) !== undefined);
      if (bad !== undefined || first === undefined) {
        const reason = bad === undefined ? "no address" : `${bad.address}, ${denied(bad.address)}`;
        return callback(
          terminal("address_denied", `${name} resolves to ${reason}; add the host to allowHosts to allow it`),
          "",
          0,
        );
      }
      if (options.all === true) callback(null, addresses);
      else callback(null, first.address, first.family);
    });
  };
}
