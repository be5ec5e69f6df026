/** Free loopback ports, which are stored so that URLs stay the same between starts. */
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { writeJson } from "../../examples/fleet/src/layout.ts";

const HOST = "127.0.0.1";

/** Chooses a port for each name: the stored one if it is free, otherwise any free one. Rewrites the file. */
export async function choosePorts(names: readonly string[], file: string): Promise<Readonly<Record<string, number>>> {
  const remembered = readRemembered(file);
  const chosen: Record<string, number> = {};
  const held: { close(): Promise<void> }[] = [];
  try {
    // Each port is held until all are chosen, so that no two names get the same one.
    for (const name of names) {
      const taken = (await hold(remembered[name] ?? 0).catch(() => undefined)) ?? (await hold(0));
      held.push(taken);
      chosen[name] = taken.port;
    }
  } finally {
    await Promise.all(held.map((taken) => taken.close()));
  }
  writeJson(file, chosen);
  return chosen;
}

function readRemembered(file: string): Readonly<Record<string, number>> {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Record<string, number>;
  } catch {
    return {};
  }
}

async function hold(port: number): Promise<{ port: number; close(): Promise<void> }> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, HOST, resolve);
  });
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : port,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
