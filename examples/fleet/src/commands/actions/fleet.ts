/** `aviary fleet …`: commands read and write desired-state files, so they work whether or not the fleet is running. */
import { resolve } from "node:path";
import { type CommandIo, EXIT } from "@aviary/shared/commands/command.ts";
import { tableLines } from "@aviary/shared/commands/terminal-text.ts";
import { readDesiredFleet, readDesiredGateway, readDesiredRollout } from "../../desired-state.ts";
import { FAULTS, heal, injectFault, release, setWeight, stableVersion } from "../../faults.ts";
import { currentDirectory, type FleetPlan, readPlan } from "../../layout.ts";
import type { FaultCall, FleetCall, ReleaseCall, WeightCall } from "../fleet.ts";

const RESPONSE_TIMEOUT_MS = 2_000;

export async function runFault({ args: { fault }, options, io }: FaultCall): Promise<number> {
  const plan = planOf(options.directory);
  const { az, slice, gateway } = options;
  const affected = injectFault(plan, fault, {
    ...(az === undefined ? {} : { az }),
    ...(slice === undefined ? {} : { slice }),
    ...(gateway === undefined ? {} : { gateway }),
  });
  const where = affected.length === 0 ? "" : ` (${affected.join(", ")})`;
  return await report(plan, `${fault}: ${FAULTS[fault as keyof typeof FAULTS].meaning}${where}`, io);
}

export async function removeFaults({ options, io }: FleetCall): Promise<number> {
  const plan = planOf(options.directory);
  heal(plan);
  return await report(plan, "all faults removed; releases and weight are unchanged", io);
}

export async function installOnCanary({ args: { version }, options, io }: ReleaseCall): Promise<number> {
  const plan = planOf(options.directory);
  release(plan, "canary", version);
  return await report(plan, `the canary slice runs ${version}; stable runs ${stableVersion(plan)}`, io);
}

export async function restoreCanarySlice({ options, io }: FleetCall): Promise<number> {
  const plan = planOf(options.directory);
  release(plan, "canary", stableVersion(plan));
  return await report(plan, `the canary slice is back on ${stableVersion(plan)}`, io);
}

export async function promoteCanary({ options, io }: FleetCall): Promise<number> {
  const plan = planOf(options.directory);
  const canary = plan.gateways.find((gateway) => gateway.slice === "canary");
  if (canary === undefined) throw new RangeError("this fleet has no canary gateway");
  const { version } = readDesiredGateway(plan, canary.name);
  release(plan, "stable", version);
  return await report(plan, `stable runs ${version}`, io);
}

export async function setCanaryWeight({ args: { percent }, options, io }: WeightCall): Promise<number> {
  const plan = planOf(options.directory);
  setWeight(plan, percent);
  return await report(plan, weightText(percent), io);
}

export async function showStatus({ options, output, io }: FleetCall): Promise<number> {
  const plan = planOf(options.directory);
  const desired = readDesiredFleet(plan);
  const { weight } = readDesiredRollout(plan);
  const gateways = await Promise.all(
    plan.gateways.map(async ({ name, az, slice, port }) => {
      const answers = await isReady(plan.host, port);
      const { version } = readDesiredGateway(plan, name);
      return { gateway: name, az, slice, version, answers, faults: faultsOf(plan, name, az) };
    }),
  );
  if (output === "json") {
    io.stdout.write(`${JSON.stringify({ weight, lane_depth: desired.laneDepth, gateways })}\n`);
    return EXIT.success;
  }
  const ports = new Map(plan.gateways.map(({ name, port }) => [name, String(port)]));
  const rows = gateways.map(({ gateway, az, slice, version, answers, faults }) => [
    gateway,
    az,
    slice,
    version,
    ...(output === "wide" ? [ports.get(gateway) ?? ""] : []),
    answers ? "up" : "down",
    faults.join(", "),
  ]);
  const header = ["GATEWAY", "AZ", "SLICE", "RELEASE", ...(output === "wide" ? ["PORT"] : []), "STATE", "FAULTS"];
  io.stdout.write(`${[...tableLines(header, rows), weightText(weight)].join("\n")}\n`);
  return EXIT.success;
}

/** @throws Error with instructions to start a fleet, if there is none */
function planOf(directory: string | undefined): FleetPlan {
  return readPlan(resolve(directory ?? currentDirectory()));
}

function faultsOf(plan: FleetPlan, gateway: string, az: string): string[] {
  const { dead, cut, clockOffsetMs } = readDesiredFleet(plan);
  const { errorRatio, slowMs, state } = readDesiredGateway(plan, gateway);
  return [
    ...(errorRatio > 0 ? [`5xx ${Math.round(errorRatio * 100)}%`] : []),
    ...(slowMs > 0 ? [`slow ${slowMs} ms`] : []),
    ...(state === "up" ? [] : [state]),
    ...(dead.includes(gateway) ? ["dead"] : []),
    ...(cut.includes(az) ? ["cut"] : []),
    ...(clockOffsetMs[gateway] === undefined ? [] : ["clock"]),
  ];
}

const weightText = (percent: number): string => `the canary slice receives ${percent}% of the requests`;

/** Prints what changed, and warns if no gateway is running to apply it. */
async function report(plan: FleetPlan, text: string, io: CommandIo): Promise<number> {
  io.stdout.write(`${text}\n`);
  const listening = await Promise.all(plan.gateways.map(({ port }) => isListening(plan.host, port)));
  if (!listening.includes(true)) io.stderr.write("no gateway is running; the change applies at the next `npm start`\n");
  return EXIT.success;
}

/** Whether anything listens on the port, ready or not. */
async function isListening(host: string, port: number): Promise<boolean> {
  try {
    await fetch(`http://${host}:${port}/healthz`, { signal: AbortSignal.timeout(RESPONSE_TIMEOUT_MS) });
    return true;
  } catch (error) {
    return error instanceof DOMException && error.name === "TimeoutError";
  }
}

async function isReady(host: string, port: number): Promise<boolean> {
  try {
    return (await fetch(`http://${host}:${port}/readyz`, { signal: AbortSignal.timeout(RESPONSE_TIMEOUT_MS) })).ok;
  } catch {
    return false;
  }
}
