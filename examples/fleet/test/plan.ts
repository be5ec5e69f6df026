/** A plan of a fleet for tests: free ports, a directory of its own that goes away, and a way to wait for something. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CANARY, FLEET, type FleetPlan, GATEWAYS, LANE, STABLE_VERSION } from "../src/layout.ts";

/** Ports that were free a moment ago, all different. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
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
  return ports;
}

/** A plan over free ports, in a temporary directory. */
export async function testPlan(change: Partial<FleetPlan> = {}): Promise<FleetPlan & Disposable> {
  const directory = mkdtempSync(join(tmpdir(), "aviary-fleet-"));
  const ports = await freePorts(2 * GATEWAYS.length + 3);
  const take = (): number => ports.pop() ?? 0;
  return {
    v: 1,
    directory,
    host: "127.0.0.1",
    seed: 1,
    fleet: FLEET,
    canary: CANARY,
    lane: LANE,
    gateways: GATEWAYS.map((gateway) => ({ ...gateway, port: take(), proxyPort: take() })),
    vipPort: take(),
    proxyAdminPort: take(),
    relayPorts: {},
    shimPort: take(),
    opsPorts: {},
    stableVersion: STABLE_VERSION,
    requestsPerSecond: 50,
    policy: "policies/default.yaml",
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
