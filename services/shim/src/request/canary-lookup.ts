/** Resolves the canary of a request from its query or JSON body; a single canary needs no name. Pure. */
import type { CanaryEntry } from "@aviary/shared/contract/fleet.ts";
import { parseCanaryKey } from "@aviary/shared/contract/subjects.ts";
import type { Canary } from "../view.ts";

/** How a request identifies its canary. */
export interface CanaryIdentity {
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly revision: string | undefined;
}

export type CanaryLookup =
  | { readonly canary: Canary }
  | { readonly canary?: never; readonly namespace: string; readonly name: string; readonly text: string };

const NAME_KEYS = ["canary", "rollout", "name"] as const;
const MAX_CHARS = 128;

/** Reads the identity from query parameters or the keys of a JSON object. `canary` may be `<namespace>/<name>`. */
export function readIdentity(get: (key: string) => unknown): CanaryIdentity {
  const textOf = (key: string): string | undefined => {
    const value = get(key);
    return typeof value === "string" && value !== "" && value.length <= MAX_CHARS ? value : undefined;
  };
  const name = NAME_KEYS.map(textOf).find((value) => value !== undefined);
  const qualified = name === undefined ? undefined : parseCanaryKey(name);
  return {
    namespace: qualified?.namespace ?? textOf("namespace") ?? textOf("ns"),
    name: qualified?.name ?? name,
    revision: textOf("revision"),
  };
}

/** Identities of cached queries: controllers repeat the same query. */
const identities = new WeakMap<URLSearchParams, CanaryIdentity>();

/** The identity of a parsed query, which must not be changed. */
export function identityOfQuery(query: URLSearchParams): CanaryIdentity {
  let identity = identities.get(query);
  if (identity === undefined) {
    identity = readIdentity((key) => query.get(key) ?? undefined);
    identities.set(query, identity);
  }
  return identity;
}

/** Fills the missing fields of the first identity from the second. */
export function mergeIdentity(first: CanaryIdentity, second: CanaryIdentity): CanaryIdentity {
  return {
    namespace: first.namespace ?? second.namespace,
    name: first.name ?? second.name,
    revision: first.revision ?? second.revision,
  };
}

function splitHost(host: string): { readonly name: string; readonly port: string } {
  const [, name = "", port = ""] = /^(.*?)\.?(:\d+)?$/.exec(host) ?? [];
  return { name, port };
}

/**
 * Whether a canary is served on a host: on every host by default, otherwise only on its `hosts`.
 * @param host lower case, with or without a port and the final dot of a fully qualified name
 */
export function isServedOn(entry: Pick<CanaryEntry, "hosts">, host: string): boolean {
  if (entry.hosts.length === 0) return true;
  const asked = splitHost(host);
  return entry.hosts.map(splitHost).some(({ name, port }) => name === asked.name && (port === "" || port === asked.port));
}

/**
 * Finds the canary. Without a name: the only one that the host serves and the caller may read. Without a namespace: the only
 * one of that name.
 * @param visible canaries that the caller may read
 */
export function findCanary(visible: readonly Canary[], { namespace, name }: CanaryIdentity, host: string): CanaryLookup {
  const matching = visible.filter(
    ({ ref }) => (name === undefined || ref.name === name) && (namespace === undefined || ref.namespace === namespace),
  );
  const served = matching.filter(({ entry }) => isServedOn(entry, host));
  if (served.length === 1) return { canary: served[0]! };
  const requested = { namespace: namespace ?? "", name: name ?? "" };
  if (served.length > 1) return { ...requested, text: `more than one canary matches; name one: ${listNames(served)}` };
  if (matching.length > 0) {
    return {
      ...requested,
      text: `${listNames(matching)}: not served on host ${host.slice(0, 60) || "(none)"}; use its canary host`,
    };
  }
  return {
    ...requested,
    text: `no canary ${namespace ?? "*"}/${name ?? "*"} is configured; configured: ${listNames(visible) || "none"}`,
  };
}

/** Lists the first few canaries for a message. */
export function listNames(canaries: readonly Canary[], most = 3): string {
  const shown = canaries.slice(0, most).map(({ key }) => key);
  return canaries.length > most ? `${shown.join(", ")} and ${canaries.length - most} more` : shown.join(", ");
}
