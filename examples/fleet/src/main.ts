/**
 * Runs one part of the local fleet as a separate process: `node main.ts <part> <run directory> [gateway]`.
 * `npm start` does this for every part. Run one by hand to debug it.
 */
import { resolve } from "node:path";
import { startGatewayOf } from "./gateway.ts";
import { startLane } from "./lane.ts";
import { type FleetPlan, readPlan } from "./layout.ts";
import { startLoad } from "./load.ts";
import { startProxy } from "./proxy.ts";

type Part = (plan: FleetPlan, argument: string | undefined) => Promise<{ description: string; stop(): Promise<void> | void }>;

const PARTS: Readonly<Record<string, Part>> = {
  gateway: async (plan, name) => {
    const { port, stop } = await startGatewayOf(plan, name ?? "");
    return { description: `gateway ${name} on port ${port}`, stop };
  },
  proxy: async (plan) => {
    const proxy = await startProxy(plan, () => {
      process.stderr.write("caddy exited\n");
      process.exit(1);
    });
    return { description: `proxy (${proxy.kind}) on port ${plan.vipPort}`, stop: proxy.stop };
  },
  load: async (plan) => {
    const load = startLoad(plan);
    const timer = setInterval(() => process.stdout.write(`${JSON.stringify(load.stats())}\n`), 30_000);
    return {
      description: `load of ${plan.requestsPerSecond} requests/s to port ${plan.vipPort}`,
      stop: () => {
        clearInterval(timer);
        load.stop();
      },
    };
  },
  lane: async (plan) => {
    const lane = await startLane(plan);
    return { description: `build lane ${plan.lane} in Redis on port ${plan.redisPort}`, stop: lane.stop };
  },
};

async function main(argv: readonly string[]): Promise<void> {
  const [name = "", directory = "", argument] = argv;
  const part = Object.hasOwn(PARTS, name) ? PARTS[name] : undefined;
  if (part === undefined || directory === "") {
    throw new Error(`usage: node main.ts <${Object.keys(PARTS).join("|")}> <run directory> [gateway]`);
  }
  const running = await part(readPlan(resolve(directory)), argument);
  process.stdout.write(`${running.description}\n`);
  const stop = (): void => {
    Promise.resolve(running.stop()).then(
      () => process.exit(0),
      () => process.exit(1),
    );
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
