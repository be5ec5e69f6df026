/** `aviary fleet …`: faults, releases and weight of the local fleet that `npm start` runs. Every verb changes control files, so it works from anywhere. */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import type { Command, CommandIo } from "@aviary/shared/commands/command.ts";
import { readFleetControl, readGatewayControl, readRollout } from "../control.ts";
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
  /** How many words follow the verb. */
  readonly words: number;
  readonly run: (call: Call) => void | Promise<void>;
}

const REQUEST_TIMEOUT_MS = 2_000;

const COMMANDS: readonly FleetCommand[] = [
  {
    name: "fault",
    summary: "give the local fleet a fault",
    usage: `fault <${FAULT_NAMES.join("|")}> [--az az-b] [--slice canary|stable] [--gateway mac-b1]`,
    words: 1,
    run: ({ plan, positionals: [name = ""], target, io }) => {
      const struck = giveFault(plan, name, target);
      const where = struck.length === 0 ? "" : ` (${struck.join(", ")})`;
      io.stdout.write(`${name}: ${FAULTS[name as keyof typeof FAULTS].meaning}${where}\n`);
    },
  },
  {
    name: "heal",
    summary: "take every fault away",
    usage: "heal",
    words: 0,
    run: ({ plan, io }) => {
      heal(plan);
      io.stdout.write("every fault is taken away; releases and weight are as they were\n");
    },
  },
  {
    name: "release",
    summary: "put a release on the canary slice",
    usage: "release <version>",
    words: 1,
    run: ({ plan, positionals: [version = ""], io }) => {
      release(plan, "canary", version);
      io.stdout.write(`the canary slice gets ${version}; stable runs ${stableVersion(plan)}\n`);
    },
  },
  {
    name: "restore",
    summary: "put stable's release back on the canary slice",
    usage: "restore",
    words: 0,
    run: ({ plan, io }) => {
      release(plan, "canary", stableVersion(plan));
      io.stdout.write(`the canary slice is back at ${stableVersion(plan)}\n`);
    },
  },
  {
    name: "promote",
    summary: "put the canary slice's release on stable",
    usage: "promote",
    words: 0,
    run: ({ plan, io }) => {
      const canary = plan.gateways.find((gateway) => gateway.slice === "canary");
      if (canary === undefined) throw new RangeError("this fleet has no canary gateway");
      const { version } = readGatewayControl(plan, canary.name);
      release(plan, "stable", version);
      io.stdout.write(`stable gets ${version}\n`);
    },
  },
  {
    name: "weight",
    summary: "set the canary slice's share of the traffic",
    usage: "weight <0..100>",
    words: 1,
    run: ({ plan, positionals: [weight = ""], io }) => {
      if (!/^\d{1,3}(\.\d+)?$/.test(weight))
        throw new RangeError(`a weight is a number from 0 to 100, not ${JSON.stringify(weight)}`);
      setWeight(plan, Number(weight));
      io.stdout.write(`${weight} % of the requests go to the canary slice\n`);
    },
  },
  {
    name: "status",
    summary: "show the local fleet: gateways, releases, faults",
    usage: "status [--json]",
    words: 0,
    run: showStatus,
  },
];

/** One verb of the command line for each of the above. */
export const FLEET_VERBS: readonly Command[] = COMMANDS.map(({ name, summary, usage, words, run }) => ({
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
      if (positionals.length !== words)
        throw new TypeError(`expected ${words} word${words === 1 ? "" : "s"} after "fleet ${name}"`);
      if (values.slice !== undefined && values.slice !== "canary" && values.slice !== "stable") {
        throw new TypeError(`--slice is canary or stable, not ${values.slice}`);
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
        io.stderr.write("no gateway answers; if the local fleet is not running, this shows after the next `npm start`\n");
      return 0;
    } catch (error) {
      const wrongCall = error instanceof TypeError;
      io.stderr.write(`${(error as Error).message}\n${wrongCall ? `usage: aviary fleet ${usage}\n` : ""}`);
      return wrongCall ? 2 : 1;
    }
  },
}));

async function showStatus({ plan, json, io }: Call): Promise<void> {
  const control = readFleetControl(plan);
  const rows = await Promise.all(
    plan.gateways.map(async ({ name, az, slice, port }) => {
      const { version, errorRatio, slowMs, state } = readGatewayControl(plan, name);
      const faults = [
        ...(errorRatio > 0 ? [`5xx ${Math.round(errorRatio * 100)} %`] : []),
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
  io.stdout.write(`${weight} % of the requests go to the canary slice\n`);
}

async function isAnyGatewayListening(plan: FleetPlan): Promise<boolean> {
  const answers = await Promise.all(plan.gateways.map(({ port }) => isListening(plan.host, port)));
  return answers.includes(true);
}

/** Whether anything listens there, ready or not. */
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
