/**
 * Merging `collector.yaml` with its fragments. Every leaf (a scalar or a list) has exactly one owner: the first file that sets it.
 * Mappings are merged. A second file that sets the same leaf, even to the same value, causes a clash that names both files,
 * so that behavior never depends on file order.
 */
import { isMapping } from "@aviary/shared/contract/mapping.ts";

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
  const merge: Merge = { owners: new Map(), clashes: [] };
  let value: unknown = {};
  for (const file of files) value = mergeInto(value, file.value, [], { ...merge, source: file.source });
  return { value, clashes: merge.clashes, ownerOf: (keys) => ownerOf(merge.owners, keys.map(String)) };
}

interface Merge {
  /** The file that set each key first, by the JSON of its path. */
  readonly owners: Map<string, string>;
  readonly clashes: Clash[];
}

function mergeInto(base: unknown, add: unknown, keys: readonly string[], merge: Merge & { readonly source: string }): unknown {
  const { owners, clashes, source } = merge;
  const path = JSON.stringify(keys);
  const owner = owners.get(path);
  if (owner === undefined) owners.set(path, source);
  if (isMapping(base) && isMapping(add)) {
    const merged = new Map(Object.entries(base));
    for (const [key, value] of Object.entries(add)) {
      const known = merged.has(key) ? merged.get(key) : isMapping(value) ? {} : undefined;
      merged.set(key, mergeInto(known, value, [...keys, key], merge));
    }
    // Built from a Map, so that a key named __proto__ stays an ordinary key.
    return Object.fromEntries(merged);
  }
  if (base === undefined) return add;
  clashes.push({ keys, source, owner: owner ?? source });
  return base;
}

/** The owner of the longest owned prefix of the path. */
function ownerOf(owners: ReadonlyMap<string, string>, keys: readonly string[]): string | undefined {
  for (let length = keys.length; length >= 0; length--) {
    const owner = owners.get(JSON.stringify(keys.slice(0, length)));
    if (owner !== undefined) return owner;
  }
  return undefined;
}
