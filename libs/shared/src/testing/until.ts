/** Waits for a condition instead of a time: the only kind of waiting in tests. */
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Resolves as soon as `condition` is true. `what` completes "timed out waiting until ...".
 * @throws Error after `deadlineMs`, with `what` and the result of `describe`
 */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  options: { deadlineMs?: number; pollMs?: number; describe?: () => string } = {},
): Promise<void> {
  const deadline = performance.now() + (options.deadlineMs ?? 30_000);
  while (!(await condition())) {
    if (performance.now() > deadline)
      throw new Error(`timed out waiting until ${what}${options.describe ? `: ${options.describe()}` : ""}`);
    await sleep(options.pollMs ?? 5);
  }
}
