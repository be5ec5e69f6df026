/** Converts errors of the NATS client to faults: retryable if the condition may pass, terminal if it requires intervention. */
import { JetStreamApiCodes, JetStreamApiError } from "@nats-io/jetstream";
import {
  AuthorizationError,
  ClosedConnectionError,
  ConnectionError,
  DrainingConnectionError,
  NoRespondersError,
  PermissionViolationError,
  RequestError,
  TimeoutError,
  UserAuthenticationExpiredError,
} from "@nats-io/nats-core";
import { type Fault, isRetryable, retryable, Terminal, terminal } from "../runtime/faults.ts";

/** Why a TLS client rejects a server's certificate (codes of OpenSSL and of Node's host name check). */
const UNTRUSTED = /^(?:UNABLE_TO_|DEPTH_ZERO_SELF_SIGNED|SELF_SIGNED_|CERT_|ERR_TLS_CERT_ALTNAME_INVALID)/;

/** The fault for `error`; `doing` prefixes its message, such as "opening bucket lease". Faults are returned unchanged. */
export function busFault(error: unknown, doing: string): Fault {
  if (isRetryable(error) || error instanceof Terminal) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof JetStreamApiError) {
    if (error.code === JetStreamApiCodes.StreamNotFound) {
      return terminal("stream_missing", `${doing}: the stream does not exist; create it with "aviary streams apply"`, error);
    }
    if (error.code === JetStreamApiCodes.ConsumerNotFound)
      return terminal("durable_missing", `${doing}: the consumer does not exist`, error);
    if (
      error.code === JetStreamApiCodes.StreamWrongLastSequence ||
      error.code === JetStreamApiCodes.StreamWrongLastSequenceUnknown
    ) {
      return terminal("conflict", `${doing}: ${message}`, error);
    }
    return error.status >= 500 || error.status === 429
      ? retryable("broker_unavailable", `${doing}: ${message}`, error)
      : terminal("broker_refused", `${doing}: ${message}`, error);
  }
  if (error instanceof ClosedConnectionError || error instanceof DrainingConnectionError) {
    return terminal("bus_closed", `${doing}: the connection to the broker is closed`, error);
  }
  for (const cause of causes(error)) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code !== undefined && UNTRUSTED.test(code)) {
      const advice = "set AVIARY_NATS_CA_FILE to the authority that signed it, and use a host name that it contains";
      return terminal("broker_untrusted", `${doing}: the broker's certificate is not trusted (${code}); ${advice}`, error);
    }
    if (
      cause instanceof PermissionViolationError ||
      cause instanceof AuthorizationError ||
      cause instanceof UserAuthenticationExpiredError
    ) {
      return terminal("broker_denied", `${doing}: ${cause.message}; check this service's broker credentials`, error);
    }
    if (
      cause instanceof TimeoutError ||
      cause instanceof NoRespondersError ||
      cause instanceof RequestError ||
      cause instanceof ConnectionError ||
      code === "ECONNREFUSED"
    ) {
      return retryable("broker_unavailable", `${doing}: ${message}`, error);
    }
  }
  return terminal("broker_error", `${doing}: ${message}`, error);
}

function causes(error: unknown): Error[] {
  const found: Error[] = [];
  for (let next = error; next instanceof Error && found.length < 5; next = next.cause) found.push(next);
  return found;
}
