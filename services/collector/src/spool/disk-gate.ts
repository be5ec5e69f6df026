/** One disk operation at a time, with a timeout. After a failure or timeout the disk is skipped for a while. */
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import { retryable } from "@aviary/shared/runtime/faults.ts";

/** How long the disk is skipped after a failure. */
const DISK_RETRY_MS = 10_000;
const DISK_TIMEOUT_MS = 5_000;

export interface DiskGate {
  isBusy: boolean;
  /** No operation before this monotonic time. */
  retryAtMs: number;
}

export function openDiskGate(): DiskGate {
  return { isBusy: false, retryAtMs: Number.NEGATIVE_INFINITY };
}

/** Whether an operation may start now. */
export function isDiskUsable(gate: DiskGate, clock: Clock): boolean {
  return !gate.isBusy && clock.monotonicMs() >= gate.retryAtMs;
}

/**
 * Runs one disk operation. One that hangs is abandoned, and the gate stays busy until it ends.
 * @throws Retryable `disk_hangs` after the timeout, or the operation's own error.
 */
export async function runOnDisk<T>(gate: DiskGate, clock: Clock, operation: () => Promise<T>): Promise<T> {
  gate.isBusy = true;
  const done = operation().finally(() => {
    gate.isBusy = false;
  });
  const timedOut = Promise.withResolvers<never>();
  const cancelTimeout = clock.setTimer(DISK_TIMEOUT_MS, () =>
    timedOut.reject(retryable("disk_hangs", `disk operation did not finish within ${DISK_TIMEOUT_MS} ms`)),
  );
  try {
    return await Promise.race([done, timedOut.promise]);
  } catch (error) {
    gate.retryAtMs = clock.monotonicMs() + DISK_RETRY_MS;
    throw error;
  } finally {
    cancelTimeout();
  }
}
