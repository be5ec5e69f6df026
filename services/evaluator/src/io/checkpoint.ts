/** Checkpoints in the key-value bucket `checkpoint`: compressed, one key per shard, with a documented limit. */
import { promisify } from "node:util";
import { gunzipSync, gzip } from "node:zlib";
import type { Bus } from "@aviary/shared/bus/bus.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import { mustStillLead } from "@aviary/shared/runtime/lease.ts";
import { decodeCheckpoint } from "../core/checkpoint.ts";
import type { ResolvedConfig } from "../core/resolved-config.ts";
import type { State } from "../core/state.ts";

/** The maximum size of a checkpoint, bytes after compression. */
export const MAX_CHECKPOINT_BYTES = 256 * 1024;

/** Not on the main thread: compressing a large checkpoint takes longer than a verdict may wait. */
const compress = promisify(gzip);

/**
 * Saves a serialized checkpoint.
 * @param allowed checked right before the write
 * @throws Terminal `checkpoint_too_large`: shard by fleet. Retryable `not_leading` if it is no longer allowed
 */
export async function saveCheckpoint(bus: Bus, shard: string, text: string, allowed: () => boolean): Promise<void> {
  const packed = await compress(text);
  if (packed.length > MAX_CHECKPOINT_BYTES) {
    throw terminal(
      "checkpoint_too_large",
      `the checkpoint has ${packed.length} bytes, the limit is ${MAX_CHECKPOINT_BYTES}: run one evaluator per fleet`,
    );
  }
  const bucket = await bus.bucket("checkpoint");
  mustStillLead(allowed, "saving a checkpoint");
  await bucket.put(shard, packed);
}

/** The last saved state, or undefined if there is none that this version can read. */
export async function loadCheckpoint(bus: Bus, shard: string, config: ResolvedConfig): Promise<State | undefined> {
  const bucket = await bus.bucket("checkpoint");
  const entry = await bucket.get(shard);
  if (entry === undefined) return undefined;
  try {
    return decodeCheckpoint(gunzipSync(entry.value).toString(), config);
  } catch {
    return undefined;
  }
}
