/** Waiting for a condition instead of for a time: the only kind of waiting that tests do. */
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Resolves as soon as `condition` holds. `what` completes "waited in vain until ...".
 * @throws Error after `deadlineMs`, with `what` and what `describe` says then.
 */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  options: { deadlineMs?: number; pollMs?: number; describe?: () => string } = {},
): Promise<void> {
  const deadline = performance.now() + (options.deadlineMs ?? 30_000);
  while (!(await condition())) {
    if (performance.now() > deadline)
      throw new Error(`waited in vain until ${what}${options.describe ? `: ${options.describe()}` : ""}`);
    await sleep(options.pollMs ?? 5);
  }
}
