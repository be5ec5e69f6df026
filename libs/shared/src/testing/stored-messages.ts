/** Reads a whole stream at once. */
import type { Bus, StoredMessage } from "../bus/bus.ts";
import { scanStream } from "../bus/scan-stream.ts";
import type { StreamName } from "../bus/streams.ts";

/**
 * The messages that a stream contains now, oldest first.
 * @param subjects filters; all subjects without one
 */
export async function storedMessages(
  bus: Pick<Bus, "follow">,
  stream: StreamName,
  subjects: readonly string[] = [],
): Promise<StoredMessage[]> {
  const messages: StoredMessage[] = [];
  await scanStream(bus, { stream, subjects, from: "all", onMessage: (message) => void messages.push(message) });
  return messages;
}
