/**
 * The collector's configuration: `collector.yaml` and the fragments `conf.d/*.yaml` next to it, in alphabetical order
 * (`core/merge-config.ts`).
 * `collector.yaml` contains settings that differ between nodes (names, ports, paths), fragments contain shared ones. Every signal
 * carries the hash of the merged fragments, because gateways of one slice with different fragments must not be judged together.
 */
import { readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { canonicalJson, sha256Hex } from "@aviary/shared/contract/ids.ts";
import { type GatewayRef, TOKEN_PATTERN } from "@aviary/shared/contract/subjects.ts";
import { bytes } from "@aviary/shared/runtime/bytes.ts";
import {
  ConfigError,
  type ConfigProblem,
  checkConfig,
  isUnreadable,
  type Parsed,
  readYamlFile,
  type YamlFile,
} from "@aviary/shared/runtime/config.ts";
import { serviceEnv } from "@aviary/shared/runtime/service-env.ts";
import { z } from "zod";
import { type Clash, type ConfigFile, isMapping, type Merged, mergeConfig } from "./core/merge-config.ts";
import type { Timing } from "./probe.ts";
import { PROBES } from "./probes/list.ts";

const token = z.string().regex(TOKEN_PATTERN, { error: "lower-case letters, digits and dashes, at most 63 characters" });

const spoolSchema = z.strictObject({
  /** Maximum size on disk; one day without a broker uses about 45 MB. */
  maxBytes: bytes("64KiB", "16GiB").prefault("64MiB"),
  /** The spool stops writing above this usage of the volume. */
  redRatio: z.number().min(0.5).max(1).default(0.9),
});

/** `collector.yaml` with its fragments merged. */
export const collectorFileSchema = z.strictObject({
  az: token,
  fleet: token,
  gateway: token,
  slice: z.enum(["canary", "stable"]),
  /** Hosts that may be called although the address policy denies them. */
  allowHosts: z.array(z.string().min(1).max(255)).max(64).default([]),
  spool: spoolSchema.prefault({}),
  /** A probe runs if it has a section. */
  probes: z.strictObject(Object.fromEntries(PROBES.map((probe) => [probe.name, probe.configSchema.optional()]))).prefault({}),
});

type CollectorFile = z.output<typeof collectorFileSchema>;

export interface CollectorConfig {
  readonly gateway: GatewayRef;
  readonly slice: "canary" | "stable";
  readonly allowHosts: readonly string[];
  readonly spool: z.output<typeof spoolSchema>;
  /** The configured probes by name. */
  readonly probes: Readonly<Record<string, Timing>>;
  /** 64 hex digits. */
  readonly fragmentHash: string;
}

/** The collector's environment. */
export const collectorEnv = serviceEnv(0, {
  AVIARY_COLLECTOR_FILE: z.string().default("collector.yaml"),
  /** Directory of the spool; without it signals are buffered in memory only. */
  AVIARY_DATA_DIR: z.string().optional(),
  /** Offset added to the machine's clock, milliseconds; for clock-skew drills. */
  AVIARY_TEST_CLOCK_OFFSET_MS: z.coerce.number().min(-864e5).max(864e5).default(0),
});

/**
 * Validates a configuration value as if it came from a file, for collectors inside another process.
 * @throws ConfigError with every problem
 */
export function collectorConfig(
  value: unknown,
  fragments: readonly ConfigFile[] = [],
  source = "collector configuration",
): CollectorConfig {
  const files = [{ source, value }, ...fragments];
  return fromFiles(files.map((file) => ({ ...file, lineOf: () => undefined })));
}

/**
 * Reads `file` and its fragments.
 * @throws ConfigError with every problem of all files
 */
export async function loadCollectorConfig(file: string): Promise<CollectorConfig> {
  const directory = join(dirname(file), "conf.d");
  const fragments = await fragmentNames(directory);
  const paths = [file, ...fragments.names.map((name) => join(directory, name))];
  const results = await Promise.allSettled(paths.map((path) => readYamlFile(path)));
  const unread = results.flatMap((result) => (result.status === "rejected" ? problemsOf(result.reason) : []));
  return fromFiles(
    results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : [])),
    [...unread.map((problem) => withHint(problem, file)), ...fragments.problems],
  );
}

/** If the collector's own file cannot be read, its path is most likely wrong. */
function withHint(problem: ConfigProblem, file: string): ConfigProblem {
  if (problem.source !== file || !isUnreadable(problem)) return problem;
  return { ...problem, expected: "an existing collector file: set AVIARY_COLLECTOR_FILE or --config" };
}

interface FragmentNames {
  readonly names: readonly string[];
  readonly problems: readonly ConfigProblem[];
}

async function fragmentNames(directory: string): Promise<FragmentNames> {
  try {
    const names = (await readdir(directory)).filter((name) => name.endsWith(".yaml") && !name.startsWith(".")).sort();
    return { names, problems: [] };
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return { names: [], problems: [] };
    const found = error instanceof Error ? error.message : String(error);
    return { names: [], problems: [{ source: directory, path: "", found, expected: "a readable directory" }] };
  }
}

function problemsOf(error: unknown): readonly ConfigProblem[] {
  if (error instanceof ConfigError) return error.problems;
  throw error;
}

/** @param unread problems of files that could not be read */
function fromFiles(files: readonly YamlFile[], unread: readonly ConfigProblem[] = []): CollectorConfig {
  const mappings = files.filter((file) => isMapping(file.value));
  const unusable = [...unread, ...files.filter((file) => !mappings.includes(file)).map(notAMapping)];
  const merged = mergeConfig(mappings);
  const checked = checkMerged(mappings, merged);
  const clashes = merged.clashes.map((clash) => clashProblem(clash, mappings));
  const wrong = checked.ok ? [] : checked.problems;
  // A missing key may be in a file that could not be used.
  const certain = unusable.length === 0 ? wrong : wrong.filter(({ path }) => isSet(merged.value, keysOf(path)));
  if (!checked.ok || unusable.length > 0 || clashes.length > 0) throw new ConfigError([...unusable, ...clashes, ...certain]);
  return toConfig(checked.value, sha256Hex(canonicalJson(mergeConfig(files.slice(1)).value)));
}

const notAMapping = ({ source }: YamlFile): ConfigProblem => ({
  source,
  path: "",
  found: "another type",
  expected: "a mapping (key: value)",
});

/** Validates the merged value; every problem names the file that sets its key. */
function checkMerged(files: readonly YamlFile[], { value, ownerOf }: Merged): Parsed<CollectorFile> {
  const fileOf = (keys: readonly PropertyKey[]): YamlFile | undefined =>
    files.find((file) => file.source === ownerOf(keys)) ?? files[0];
  const checked = checkConfig(files[0]?.source ?? "", value, collectorFileSchema, (keys) => fileOf(keys)?.lineOf(keys));
  if (checked.ok) return checked;
  const problems = checked.problems.map((problem) => ({
    ...problem,
    source: fileOf(keysOf(problem.path))?.source ?? problem.source,
  }));
  return { ok: false, problems };
}

function clashProblem({ keys, source, owner }: Clash, files: readonly YamlFile[]): ConfigProblem {
  const line = files.find((file) => file.source === source)?.lineOf(keys);
  return {
    source,
    ...(line === undefined ? {} : { line }),
    path: keys.join("."),
    found: "a key set by another file",
    expected: `one owner per key: ${owner} already sets it`,
  };
}

function toConfig(file: CollectorFile, fragmentHash: string): CollectorConfig {
  const { az, fleet, gateway, slice, allowHosts, spool, probes } = file;
  const running = Object.entries(probes).filter((entry): entry is [string, Timing] => entry[1] !== undefined);
  return { gateway: { az, fleet, gateway }, slice, allowHosts, spool, probes: Object.fromEntries(running), fragmentHash };
}

/** Whether the value has something at the keys. */
function isSet(value: unknown, keys: readonly string[]): boolean {
  let inside = value;
  for (const key of keys) {
    if (typeof inside !== "object" || inside === null || !Object.hasOwn(inside, key)) return false;
    inside = (inside as Readonly<Record<string, unknown>>)[key];
  }
  return true;
}

/** The keys of a path in a problem report, such as `probes.queue.lanes` and `allowHosts[0]`. */
function keysOf(path: string): string[] {
  return path.split(/[.[\]]/).filter((key) => key !== "");
}
