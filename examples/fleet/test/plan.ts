/** A plan of a fleet for tests: free ports, a directory of its own that goes away, and a way to wait for something. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { FleetPlan } from "../src/layout.ts";
import { makePlan } from "../src/make-plan.ts";

const config = (path: string): string => fileURLToPath(new URL(`../config/${path}`, import.meta.url));

/** Ports that were free a moment ago, all different. */
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

/** A plan over free ports, in a temporary directory. */
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

/** Waits until the condition holds. Fails with what was waited for when it does not within 20 s. */
export async function until(what: string, condition: () => boolean | Promise<boolean>, withinMs = 20_000): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`still waiting after ${withinMs / 1000} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
