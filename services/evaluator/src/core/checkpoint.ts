/**
 * Serializes the whole state of the reducer as of one position in the log, open windows included, and restores it. A restart is
 * the checkpoint plus the messages after it, and produces the same bytes as an uninterrupted run.
 *
 * Maps, sets, histograms and infinities, which JSON lacks, are written as objects with one tagged key.
 */
import * as histogram from "@aviary/shared/histogram.ts";
import { restoreMemory, restoreOutcome, storeMemory, storeOutcome } from "./judge/memory-codec.ts";
import type { JudgeMemory, JudgeOutcome } from "./judge/outcome.ts";
import type { CanaryConfig, ResolvedConfig } from "./resolved-config.ts";
import { dropEvidence } from "./run.ts";
import { createCanary, createState, type LaneState, type State, startGrid } from "./state.ts";
import { restoreCanary, restoreGateway, type StoredGateway, storeCanary } from "./state-codec.ts";

export const CHECKPOINT_SCHEMA = "aviary/checkpoint.v1";

interface CheckpointFile {
  readonly schema: string;
  /** Of all canaries together: what versions without `config_hashes` compare. */
  readonly policy_hash: string;
  /** The configuration that each canary was evaluated under. */
  readonly config_hashes?: Readonly<Record<string, string>>;
  /** The first sequence not yet applied. */
  readonly replay_from: number;
  /** When the log was created; absent in earlier versions. */
  readonly log_created_at_ms?: number | null;
  readonly state: Pick<State, "sequence" | "nowMs" | "lanes" | "dead" | "nextDeadlineMs" | "lastCheckpointMs"> & {
    readonly gateways: ReadonlyMap<string, StoredGateway>;
    /** In the form of `state-codec.ts`. */
    readonly canaries: ReadonlyMap<string, object>;
  };
}

function isHistogram(value: object): value is histogram.Histogram {
  return "bins" in value && value.bins instanceof Float64Array;
}

/** Parts of a canary that are JSON already, and most of a checkpoint: they are not searched for values that JSON lacks. */
const JSON_PARTS: ReadonlySet<string> = new Set(["windows", "history", "lastWindow", "memory", "outcome", "reference"]);

/**
 * Replaces values that JSON lacks by tags. A replacer would do the same at five times the cost, because it is called for every
 * number.
 */
function tagged(value: unknown): unknown {
  if (value === Number.POSITIVE_INFINITY) return { $infinity: 1 };
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(tagged);
  if (value instanceof Map) return { $map: Array.from(value, ([key, part]) => [key, tagged(part)]) };
  if (value instanceof Set) return { $set: [...value] };
  if (isHistogram(value)) return { $histogram: histogram.toSparse(value) };
  const copy: Record<string, unknown> = {};
  for (const [key, part] of Object.entries(value)) copy[key] = JSON_PARTS.has(key) ? stored(key, part) : tagged(part);
  return copy;
}

/** The stored form of a part that is JSON already; only the judge's memory and outcome differ from it. */
function stored(key: string, part: unknown): unknown {
  if (part === null) return part;
  if (key === "memory") return storeMemory(part as JudgeMemory);
  if (key === "outcome") return storeOutcome(part as JudgeOutcome);
  return part;
}

function decode(key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (key === "memory") return restoreMemory(value as JudgeMemory);
  if (key === "outcome") return restoreOutcome(value);
  const tagged = value as { $infinity?: 1; $map?: [unknown, unknown][]; $set?: unknown[]; $histogram?: histogram.LatencySparse };
  if (tagged.$infinity !== undefined) return Number.POSITIVE_INFINITY;
  if (tagged.$map !== undefined) return new Map(tagged.$map);
  if (tagged.$set !== undefined) return new Set(tagged.$set);
  if (tagged.$histogram !== undefined) return histogram.fromSparse(tagged.$histogram);
  return value;
}

/** Serializes the state. */
export function encodeCheckpoint(state: State): string {
  const { sequence, nowMs, gateways, canaries, lanes, dead, nextDeadlineMs, lastCheckpointMs } = state;
  const stored = new Map(Array.from(canaries, ([key, canary]) => [key, storeCanary(canary)] as const));
  const file: CheckpointFile = {
    schema: CHECKPOINT_SCHEMA,
    policy_hash: state.config.policyHash,
    config_hashes: Object.fromEntries([...state.config.canaries.values()].map(({ key, configHash }) => [key, configHash])),
    replay_from: sequence + 1,
    log_created_at_ms: state.logCreatedAtMs,
    state: { sequence, nowMs, gateways, canaries: stored, lanes, dead, nextDeadlineMs, lastCheckpointMs },
  };
  return JSON.stringify(tagged(file));
}

/**
 * Restores a checkpoint under the current configuration. Gateways, canaries and lanes that are no longer in the fleet file are
 * dropped, new ones start empty. If the configuration of a canary changed (its policy, its gateways or its lanes), its run and
 * latch stay, and its windows and the judge's memory are reset; the other canaries continue.
 * @returns undefined if the text is not a checkpoint of this version: the log is then applied from its start
 */
export function decodeCheckpoint(text: string, config: ResolvedConfig): State | undefined {
  let file: CheckpointFile;
  try {
    file = JSON.parse(text, decode) as CheckpointFile;
  } catch {
    return undefined;
  }
  if (file?.schema !== CHECKPOINT_SCHEMA) return undefined;
  const state = createState(config);
  state.logCreatedAtMs = file.log_created_at_ms ?? null;
  state.sequence = file.state.sequence;
  state.nowMs = file.state.nowMs;
  state.lastCheckpointMs = file.state.lastCheckpointMs;
  state.nextDeadlineMs = file.state.nextDeadlineMs;
  for (const [key, count] of file.state.dead) state.dead.set(key, count);
  for (const key of state.gateways.keys()) {
    const known: StoredGateway | undefined = file.state.gateways.get(key);
    const entry = config.gateways.get(key)!;
    if (known !== undefined) state.gateways.set(key, { ...restoreGateway(known), slice: entry.slice });
  }
  for (const [key, canaryConfig] of config.canaries) restoreCanaryOf(file, state, canaryConfig, key);
  for (const [name, lane] of config.lanes) {
    const known: LaneState | undefined = file.state.lanes.get(name);
    if (known !== undefined) state.lanes.set(name, known);
    else if (state.lastCheckpointMs > 0) state.lanes.get(name)!.nextTickMs = state.nowMs + lane.pollingInterval;
  }
  return state;
}

function restoreCanaryOf(file: CheckpointFile, state: State, config: CanaryConfig, key: string): void {
  const known = file.state.canaries.get(key);
  const canary = known === undefined ? createCanary(config) : restoreCanary(known);
  state.canaries.set(key, canary);
  const isSame = known !== undefined && isSameConfig(file, state.config, config);
  if (isSame || state.lastCheckpointMs === 0) return;
  startGrid(canary, config, state.nowMs);
  canary.disks = new Map();
  canary.staleCheckMs = state.nowMs + 1;
  dropEvidence(canary);
  state.nextDeadlineMs = state.nowMs;
}

function isSameConfig(file: CheckpointFile, config: ResolvedConfig, { key, configHash }: CanaryConfig): boolean {
  if (file.config_hashes === undefined) return file.policy_hash === config.policyHash;
  return file.config_hashes[key] === configHash;
}
