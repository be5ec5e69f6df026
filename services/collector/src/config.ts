/**
 * The collector's configuration: `collector.yaml` and the fragments `conf.d/*.yaml` next to it, in alphabetical order
 * (`core/merge-config.ts`).
 * `collector.yaml` contains the settings that differ between nodes (names, ports, paths); fragments contain the shared ones. Every
 * signal carries the hash of the merged fragments, because gateways of one slice with different fragments must not be judged
 * together.
 */
import { readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { canonicalJson, sha256Hex } from "@aviary/shared/contract/ids.ts";
import { isMapping } from "@aviary/shared/contract/mapping.ts";
import { type GatewayRef, TOKEN_PATTERN } from "@aviary/shared/contract/subjects.ts";
import { bytes } from "@aviary/shared/runtime/bytes.ts";
import {
  ConfigError,
  type ConfigProblem,
  checkConfig,
  isIncomplete,
  problemsIn,
  readFailure,
  readYamlFile,
  type YamlFile,
} from "@aviary/shared/runtime/config.ts";
import { serviceEnv } from "@aviary/shared/runtime/service-env.ts";
import { z } from "zod";
import { type ConfigFile, mergeConfig } from "./core/merge-config.ts";
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
  return fromFiles([
    { source, value, lineOf: () => undefined },
    ...fragments.map((file) => ({ ...file, lineOf: () => undefined })),
  ]);
}

/**
 * Reads `file` and its fragments.
 * @param hint how to select another file, if there is none
 * @throws ConfigError with every problem of all files
 */
export async function loadCollectorConfig(file: string, hint = "set AVIARY_COLLECTOR_FILE"): Promise<CollectorConfig> {
  const directory = join(dirname(file), "conf.d");
  const [names] = await Promise.allSettled([fragmentNames(directory)]);
  const fragments = names.status === "fulfilled" ? names.value.map((name) => join(directory, name)) : [];
  const results = await Promise.allSettled([
    readYamlFile(file, { kind: "collector file", hint }),
    ...fragments.map((path) => readYamlFile(path)),
  ]);
  return fromFiles(
    results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : [])),
    problemsIn([names, ...results]),
  );
}

async function fragmentNames(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).filter((name) => name.endsWith(".yaml") && !name.startsWith(".")).sort();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw new ConfigError([{ source: directory, path: "", unreadable: "directory", reason: readFailure(error) }], error);
  }
}

/**
 * Merges and validates the files that could be read. A key that an unreadable file may have set is not reported as missing.
 * @throws ConfigError with every problem, those of the unreadable files first
 */
function fromFiles(files: readonly YamlFile[], unreadable: readonly ConfigProblem[] = []): CollectorConfig {
  const mappings = files.filter((file) => isMapping(file.value));
  const broken = [
    ...unreadable,
    ...files
      .filter((file) => !isMapping(file.value))
      .map(({ source }) => ({ source, path: "", found: "another type", expected: "a mapping (key: value)" })),
  ];
  const [first] = mappings;
  if (first === undefined) throw new ConfigError(broken);
  const { value, clashes, ownerOf } = mergeConfig(mappings);
  const fileOf = (keys: readonly PropertyKey[]): YamlFile => mappings.find((file) => file.source === ownerOf(keys)) ?? first;
  const clashed = clashes.map(({ keys, source, owner }): ConfigProblem => {
    const line = mappings.find((file) => file.source === source)?.lineOf(keys);
    return {
      source,
      ...(line === undefined ? {} : { line }),
      path: keys.join("."),
      reason: `already set by ${owner}; set each key in one file only`,
    };
  });
  const checked = checkConfig(first.source, value, collectorFileSchema, (keys) => fileOf(keys).lineOf(keys));
  const invalid = checked.ok ? [] : checked.problems.filter((problem) => broken.length === 0 || !isIncomplete(problem));
  const placed = invalid.map((problem) => ({ ...problem, source: fileOf(keysOf(problem.path)).source }));
  const problems = [...broken, ...clashed, ...placed];
  if (!checked.ok || problems.length > 0) throw new ConfigError(problems);
  const { az, fleet, gateway, slice, allowHosts, spool, probes } = checked.value;
  const running = Object.entries(probes).filter((entry): entry is [string, Timing] => entry[1] !== undefined);
  return {
    gateway: { az, fleet, gateway },
    slice,
    allowHosts,
    spool,
    probes: Object.fromEntries(running),
    fragmentHash: sha256Hex(canonicalJson(mergeConfig(mappings.slice(1)).value)),
  };
}

/** The keys of a path in a problem report, such as `probes.queue.lanes` and `allowHosts[0]`. */
function keysOf(path: string): string[] {
  return path.split(/[.[\]]/).filter((key) => key !== "");
}
