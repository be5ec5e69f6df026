/** `aviary fleet …`: faults, releases and canary weight of the local fleet. Commands edit desired-state files, so the fleet need not run. */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import type { Command, CommandIo } from "@aviary/shared/commands/command.ts";
import { readFleetControl, readGatewayControl, readRollout } from "../desired-state.ts";
import { FAULT_NAMES, FAULTS, giveFault, heal, release, setWeight, stableVersion, type Target } from "../faults.ts";
import { currentDirectory, type FleetPlan, readPlan } from "../layout.ts";

interface Call {
  readonly plan: FleetPlan;
  readonly positionals: readonly string[];
  readonly target: Target;
  readonly json: boolean;
  readonly io: CommandIo;
}

interface FleetCommand {
  readonly name: string;
  readonly summary: string;
  readonly usage: string;
  /** Number of positional arguments. */
  readonly argumentCount: number;
  readonly run: (call: Call) => void | Promise<void>;
}

const REQUEST_TIMEOUT_MS = 2_000;

const COMMANDS: readonly FleetCommand[] = [
  {
    name: "fault",
    summary: "inject a fault into the local fleet",
    usage: `fault <${FAULT_NAMES.join("|")}> [--az az-b] [--slice canary|stable] [--gateway mac-b1]`,
    argumentCount: 1,
    run: ({ plan, positionals: [name = ""], target, io }) => {
      const affected = giveFault(plan, name, target);
      const where = affected.length === 0 ? "" : ` (${affected.join(", ")})`;
      io.stdout.write(`${name}: ${FAULTS[name as keyof typeof FAULTS].meaning}${where}\n`);
    },
  },
  {
    name: "heal",
    summary: "heal every fault",
    usage: "heal",
    argumentCount: 0,
    run: ({ plan, io }) => {
      heal(plan);
      io.stdout.write("all faults healed; releases and weight unchanged\n");
    },
  },
  {
    name: "release",
    summary: "install a release on the canary slice",
    usage: "release <version>",
    argumentCount: 1,
    run: ({ plan, positionals: [version = ""], io }) => {
      release(plan, "canary", version);
      io.stdout.write(`installed ${version} on the canary slice; stable runs ${stableVersion(plan)}\n`);
    },
  },
  {
    name: "restore",
    summary: "reinstall stable's release on the canary slice",
    usage: "restore",
    argumentCount: 0,
    run: ({ plan, io }) => {
      release(plan, "canary", stableVersion(plan));
      io.stdout.write(`restored ${stableVersion(plan)} on the canary slice\n`);
    },
  },
  {
    name: "promote",
    summary: "install the canary slice's release on stable",
    usage: "promote",
    argumentCount: 0,
    run: ({ plan, io }) => {
      const canary = plan.gateways.find((gateway) => gateway.slice === "canary");
      if (canary === undefined) throw new RangeError("this fleet has no canary gateway: add one to its fleet file");
      const { version } = readGatewayControl(plan, canary.name);
      release(plan, "stable", version);
      io.stdout.write(`installed ${version} on stable\n`);
    },
  },
  {
    name: "weight",
    summary: "set the canary slice's share of the traffic",
    usage: "weight <0..100>",
    argumentCount: 1,
    run: ({ plan, positionals: [weight = ""], io }) => {
      if (!/^\d{1,3}(\.\d+)?$/.test(weight))
        throw new RangeError(`invalid weight ${JSON.stringify(weight)}: use a number from 0 to 100`);
      setWeight(plan, Number(weight));
      io.stdout.write(`${weight}% of requests go to the canary slice\n`);
    },
  },
  {
    name: "status",
    summary: "show gateways, releases and faults of the local fleet",
    usage: "status [--json]",
    argumentCount: 0,
    run: showStatus,
  },
];

/** The commands as the CLI lists them. */
export const FLEET_VERBS: readonly Command[] = COMMANDS.map(({ name, summary, usage, argumentCount, run }) => ({
  name: `fleet ${name}`,
  summary,
  usage: `fleet ${usage} [--directory .aviary/run]`,
  async run(args, io) {
    try {
      const { values, positionals } = parseArgs({
        args: [...args],
        allowPositionals: true,
        options: {
          az: { type: "string" },
          slice: { type: "string" },
          gateway: { type: "string" },
          directory: { type: "string" },
          json: { type: "boolean", default: false },
        },
      });
      if (positionals.length !== argumentCount)
        throw new TypeError(
          `"fleet ${name}" takes ${argumentCount} argument${argumentCount === 1 ? "" : "s"}, got ${positionals.length}`,
        );
      if (values.slice !== undefined && values.slice !== "canary" && values.slice !== "stable") {
        throw new TypeError(`invalid --slice ${values.slice}: use canary or stable`);
      }
      const target: Target = {
        ...(values.az === undefined ? {} : { az: values.az }),
        ...(values.slice === undefined ? {} : { slice: values.slice }),
        ...(values.gateway === undefined ? {} : { gateway: values.gateway }),
      };
      const plan = readPlan(resolve(values.directory ?? currentDirectory(process.cwd())));
      await run({
        plan,
        positionals,
        target,
        json: values.json,
        io,
      });
      if (name !== "status" && !(await isAnyGatewayListening(plan)))
        io.stderr.write("no gateway is listening: the change applies at the next `npm start`\n");
      return 0;
    } catch (error) {
      const isUsageError = error instanceof TypeError;
      io.stderr.write(`${(error as Error).message}\n${isUsageError ? `usage: aviary fleet ${usage}\n` : ""}`);
      return isUsageError ? 2 : 1;
    }
  },
}));

async function showStatus({ plan, json, io }: Call): Promise<void> {
  const control = readFleetControl(plan);
  const rows = await Promise.all(
    plan.gateways.map(async ({ name, az, slice, port }) => {
      const { version, errorRatio, slowMs, state } = readGatewayControl(plan, name);
      const faults = [
        ...(errorRatio > 0 ? [`5xx ${Math.round(errorRatio * 100)}%`] : []),
        ...(slowMs > 0 ? [`slow ${slowMs} ms`] : []),
        ...(state === "up" ? [] : [state]),
        ...(control.dead.includes(name) ? ["dead"] : []),
        ...(control.cut.includes(az) ? ["cut"] : []),
        ...(control.clockOffsetMs[name] === undefined ? [] : ["clock"]),
      ];
      return { gateway: name, az, slice, version, answers: await isReady(plan.host, port), faults };
    }),
  );
  const { weight } = readRollout(plan);
  if (json) return void io.stdout.write(`${JSON.stringify({ weight, lane_depth: control.laneDepth, gateways: rows })}\n`);
  for (const row of rows) {
    const answers = row.answers ? "up" : "down";
    io.stdout.write(
      `${row.gateway.padEnd(10)}${row.az.padEnd(8)}${row.slice.padEnd(8)}${row.version.padEnd(12)}  ${answers.padEnd(6)}${row.faults.join(", ")}\n`,
    );
  }
  io.stdout.write(`${weight}% of requests go to the canary slice\n`);
}

async function isAnyGatewayListening(plan: FleetPlan): Promise<boolean> {
  const answers = await Promise.all(plan.gateways.map(({ port }) => isListening(plan.host, port)));
  return answers.includes(true);
}

/** Whether the port accepts requests, ready or not. */
async function isListening(host: string, port: number): Promise<boolean> {
  try {
    await fetch(`http://${host}:${port}/healthz`, { signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
    return true;
  } catch (error) {
    return error instanceof DOMException && error.name === "TimeoutError";
  }
}

async function isReady(host: string, port: number): Promise<boolean> {
  try {
    return (await fetch(`http://${host}:${port}/readyz`, { signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) })).ok;
  } catch {
    return false;
  }
}
