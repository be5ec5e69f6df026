/** Checkpoints in the key-value bucket `checkpoint`: compressed, one key a shard, with a stated limit. */
import { promisify } from "node:util";
import { gunzipSync, gzip } from "node:zlib";
import type { Bus } from "@aviary/shared/bus/bus.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import { mustStillLead } from "@aviary/shared/runtime/lease.ts";
import { decodeCheckpoint } from "../core/checkpoint.ts";
import type { ResolvedConfig } from "../core/resolved-config.ts";
import type { State } from "../core/state.ts";

/** The largest checkpoint that is written, bytes after compression. */
export const MAX_CHECKPOINT_BYTES = 256 * 1024;

/** Not on the main thread: a large checkpoint takes longer to compress than a verdict may wait. */
const compress = promisify(gzip);

/**
 * Saves the text of a checkpoint.
 * @param allowed asked right before it is written
 * @throws Terminal `checkpoint_too_large`: shard by fleet. Retryable `not_leading` when it is not allowed any more.
 */
export async function saveCheckpoint(bus: Bus, shard: string, text: string, allowed: () => boolean): Promise<void> {
  const packed = await compress(text);
  if (packed.length > MAX_CHECKPOINT_BYTES) {
    throw terminal(
      "checkpoint_too_large",
      `the checkpoint has ${packed.length} bytes, the limit is ${MAX_CHECKPOINT_BYTES}: give each fleet an evaluator of its own`,
    );
  }
  const bucket = await bus.bucket("checkpoint");
  mustStillLead(allowed, "saving a checkpoint");
  await bucket.put(shard, packed);
}

/** The last saved state, or undefined when there is none that this version can read. */
export async function loadCheckpoint(bus: Bus, shard: string, setup: ResolvedConfig): Promise<State | undefined> {
  const bucket = await bus.bucket("checkpoint");
  const entry = await bucket.get(shard);
  if (entry === undefined) return undefined;
  try {
    return decodeCheckpoint(gunzipSync(entry.value).toString(), setup);
  } catch {
    return undefined;
  }
}
