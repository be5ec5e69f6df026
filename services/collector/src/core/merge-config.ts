/**
 * Merging `collector.yaml` with its fragments. Every leaf (a scalar or a list) has exactly one owner: the first file that sets it.
 * Mappings are merged. A second file that sets the same leaf, even to the same value, is a clash that names both files,
 * so that behaviour never depends on file order.
 */

export interface ConfigFile {
  readonly source: string;
  readonly value: unknown;
}

export interface Clash {
  readonly keys: readonly string[];
  /** The file that sets the key again. */
  readonly source: string;
  /** The file that set it first. */
  readonly owner: string;
}

export interface Merged {
  readonly value: unknown;
  readonly clashes: readonly Clash[];
  /** The owner of a key: the file that sets the leaf, or the first file with the mapping. */
  readonly ownerOf: (keys: readonly PropertyKey[]) => string | undefined;
}

/** Merges the files in the given order. Never throws; problems are in `clashes`. */
export function mergeConfig(files: readonly ConfigFile[]): Merged {
  const clashes: Clash[] = [];
  const owners = new Map<string, string>();
  let value: unknown = {};
  for (const { source, value: added } of files) value = mergeInto(value, added, { source, keys: [], owners, clashes });
  return { value, clashes, ownerOf: (keys) => ownerOf(owners, keys.map(String)) };
}

/** Where a merge is, and what it has found so far. */
interface MergePlace {
  readonly source: string;
  readonly keys: readonly string[];
  readonly owners: Map<string, string>;
  readonly clashes: Clash[];
}

function mergeInto(base: unknown, added: unknown, place: MergePlace): unknown {
  const { source, keys, owners, clashes } = place;
  const path = JSON.stringify(keys);
  const owner = owners.get(path);
  if (owner === undefined) owners.set(path, source);
  if (isMapping(base) && isMapping(added)) return mergeMappings(base, added, place);
  if (base === undefined) return added;
  clashes.push({ keys, source, owner: owner ?? source });
  return base;
}

function mergeMappings(base: Mapping, added: Mapping, place: MergePlace): Mapping {
  // A Map, so that a key named __proto__ stays an ordinary key.
  const merged = new Map(Object.entries(base));
  for (const [key, value] of Object.entries(added)) {
    const known = merged.has(key) ? merged.get(key) : isMapping(value) ? {} : undefined;
    merged.set(key, mergeInto(known, value, { ...place, keys: [...place.keys, key] }));
  }
  return Object.fromEntries(merged);
}

type Mapping = Readonly<Record<string, unknown>>;

/** Whether a parsed YAML value is a mapping. */
export function isMapping(value: unknown): value is Mapping {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The owner of the longest owned prefix of the path. */
function ownerOf(owners: ReadonlyMap<string, string>, keys: readonly string[]): string | undefined {
  for (let length = keys.length; length >= 0; length--) {
    const owner = owners.get(JSON.stringify(keys.slice(0, length)));
    if (owner !== undefined) return owner;
  }
  return undefined;
}
