/** Which canary a request means. CanaryIdentity comes from the query, from a JSON body, or, where there is one canary only, from nothing. Pure. */
import type { CanaryEntry } from "@aviary/shared/contract/fleet.ts";
import { parseCanaryKey } from "@aviary/shared/contract/subjects.ts";
import type { Canary } from "../view.ts";

/** What a request says about the canary it means. */
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

/** Reads identity by one accessor: query parameters or the keys of a JSON object. `canary` may be `<namespace>/<name>`. */
export function readIdentity(get: (key: string) => unknown): CanaryIdentity {
  const said = (key: string): string | undefined => {
    const value = get(key);
    return typeof value === "string" && value !== "" && value.length <= MAX_CHARS ? value : undefined;
  };
  const name = NAME_KEYS.map(said).find((value) => value !== undefined);
  const both = name === undefined ? undefined : parseCanaryKey(name);
  return { namespace: both?.namespace ?? said("namespace") ?? said("ns"), name: both?.name ?? name, revision: said("revision") };
}

/** Controllers ask the same question for years; what a query says is read once while it is remembered. */
const read = new WeakMap<URLSearchParams, CanaryIdentity>();

/** What a query says; nobody changes a query that was parsed. */
export function identityOfQuery(query: URLSearchParams): CanaryIdentity {
  let identity = read.get(query);
  if (identity === undefined) {
    identity = readIdentity((key) => query.get(key) ?? undefined);
    read.set(query, identity);
  }
  return identity;
}

/** What the second one says counts where the first is silent. */
export function mergeIdentity(first: CanaryIdentity, second: CanaryIdentity): CanaryIdentity {
  return {
    namespace: first.namespace ?? second.namespace,
    name: first.name ?? second.name,
    revision: first.revision ?? second.revision,
  };
}

/** Whether this canary answers on this host: on every host where its `hosts` are empty, else on those only. */
export function servedOn(entry: Pick<CanaryEntry, "hosts">, host: string): boolean {
  if (entry.hosts.length === 0) return true;
  const bare = host.replace(/:\d+$/, "");
  return entry.hosts.some((allowed) => allowed === host || allowed === bare);
}

/**
 * Finds the canary. Without a name it is the only one that the host serves and the caller may see; without a namespace the only one of that name.
 * @param visible canaries that the caller may ask about
 */
export function findCanary(visible: readonly Canary[], { namespace, name }: CanaryIdentity, host: string): CanaryLookup {
  const matching = visible.filter(
    ({ ref }) => (name === undefined || ref.name === name) && (namespace === undefined || ref.namespace === namespace),
  );
  const served = matching.filter(({ entry }) => servedOn(entry, host));
  if (served.length === 1) return { canary: served[0]! };
  const place = { namespace: namespace ?? "", name: name ?? "" };
  if (served.length > 1) return { ...place, text: `name one: ${listNames(served)}` };
  if (matching.length > 0) {
    return { ...place, text: `${listNames(matching)}: not served on host ${host.slice(0, 60) || "(none)"}, ask its canary host` };
  }
  return {
    ...place,
    text: `no canary ${namespace ?? "*"}/${name ?? "*"} is configured; there is ${listNames(visible) || "none"}`,
  };
}

/** Names of canaries for a message, the first few of them. */
export function listNames(canaries: readonly Canary[], most = 3): string {
  const shown = canaries.slice(0, most).map(({ key }) => key);
  return canaries.length > most ? `${shown.join(", ")} and ${canaries.length - most} more` : shown.join(", ");
}
