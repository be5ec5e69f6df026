/** A fleet plan for tests: free ports and a temporary directory. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { FleetPlan } from "../src/layout.ts";
import { makePlan } from "../src/make-plan.ts";

const config = (path: string): string => fileURLToPath(new URL(`../config/${path}`, import.meta.url));

/** Distinct ports that are currently free. */
async function freePorts(names: readonly string[]): Promise<Record<string, number>> {
  const servers = await Promise.all(
    names.map(async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => {
    const address = server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  });
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return Object.fromEntries(names.map((name, index) => [name, ports[index] ?? 0]));
}

/** A plan with free ports in a temporary directory, which is removed on disposal. */
export async function testPlan(change: Partial<FleetPlan> = {}): Promise<FleetPlan & Disposable> {
  const directory = mkdtempSync(join(tmpdir(), "aviary-fleet-"));
  const files = { directory, fleetFile: config("aviary.yaml"), fragments: config("conf.d") };
  const options = { ...files, seed: 1, requestsPerSecond: 50, servers: false, choosePorts: freePorts };
  return {
    ...(await makePlan({ ...options, proxy: "built-in" })),
    ...change,
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  };
}
