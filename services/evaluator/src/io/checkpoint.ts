/** The checkpoint in the key-value bucket `checkpoint`: compressed, with a documented limit. */
import { promisify } from "node:util";
import { gunzipSync, gzip } from "node:zlib";
import type { Bus } from "@aviary/shared/bus/bus.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import { mustStillLead } from "@aviary/shared/runtime/lease.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import { decodeCheckpoint } from "../core/checkpoint.ts";
import type { ResolvedConfig } from "../core/resolved-config.ts";
import type { State } from "../core/state.ts";

/** The maximum size of a checkpoint, bytes after compression. */
export const MAX_CHECKPOINT_BYTES = 256 * 1024;

/** The checkpoint's key in its bucket. */
const KEY = "evaluator";

/** Compressed off the main thread, because a large checkpoint takes longer than a verdict may wait. */
const compress = promisify(gzip);

/**
 * Saves a serialized checkpoint.
 * @param mayPerform checked right before the write
 * @returns its size, bytes after compression
 * @throws Terminal `checkpoint_too_large`. Retryable `not_leading` if it may no longer be performed
 */
export async function saveCheckpoint(bus: Bus, text: string, mayPerform: () => boolean): Promise<number> {
  const packed = await compress(text);
  if (packed.length > MAX_CHECKPOINT_BYTES) {
    throw terminal(
      "checkpoint_too_large",
      `the checkpoint has ${packed.length} bytes, the limit is ${MAX_CHECKPOINT_BYTES}: run one evaluator per fleet`,
    );
  }
  const bucket = await bus.bucket("checkpoint");
  mustStillLead(mayPerform, "saving a checkpoint");
  await bucket.put(KEY, packed);
  return packed.length;
}

/** The last saved state, or undefined if there is none that this version can read: the log is then applied from its start. */
export async function loadCheckpoint(bus: Bus, config: ResolvedConfig, log: Logger): Promise<State | undefined> {
  const bucket = await bus.bucket("checkpoint");
  const entry = await bucket.get(KEY);
  if (entry === undefined) return undefined;
  const bytes = entry.value.length;
  try {
    const state = decodeCheckpoint(gunzipSync(entry.value).toString(), config);
    if (state !== undefined) {
      log.info({ event: "checkpoint.restored", sequence: state.sequence, bytes }, "restored the state from the checkpoint");
      return state;
    }
    log.warn({ event: "checkpoint.unreadable", bytes }, "the checkpoint was written by another version; replaying the log");
  } catch (error) {
    log.warn({ event: "checkpoint.unreadable", bytes, err: error }, "the checkpoint is unreadable; replaying the log");
  }
  return undefined;
}
