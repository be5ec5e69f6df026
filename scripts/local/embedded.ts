import type { LocalFleet } from "./compose.ts";

export async function startEmbedded(_options: unknown): Promise<LocalFleet> {
  throw new Error("not yet");
}
