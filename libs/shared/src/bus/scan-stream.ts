/** Reads a stream once. */
import type { Bus, FollowOptions } from "./bus.ts";

/**
 * Delivers the messages that a stream contains now, oldest first, and resolves after the last one.
 * @throws faults of the bus
 */
export async function scanStream(bus: Pick<Bus, "follow">, options: FollowOptions): Promise<void> {
  const follower = await bus.follow(options);
  await follower.caughtUp;
  await follower.stop();
}
