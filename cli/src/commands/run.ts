/** `aviary run …`: the run of a canary, and what an operator may say about it. What is said goes into the log, like a controller's word. */
import { parseArgs } from "node:util";
import type { Command, CommandIo } from "@aviary/shared/commands/command.ts";
import { type ControlContent, controlMessage } from "@aviary/shared/contract/control.ts";
import { isoTime } from "@aviary/shared/contract/iso-time.ts";
import { type CanaryRef, canaryKey, controlSubject, parseCanaryKey } from "@aviary/shared/contract/subjects.ts";
import { systemClock } from "@aviary/shared/runtime/clock.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import { durationArg, openBus, openSetup, told } from "../../../services/evaluator/src/commands/open.ts";
import { type CanaryView, getFromShim, type Overview, shimOf } from "../shim-client.ts";
import { canaryLines, painterFor } from "../verdict-table.ts";

const OPTIONS = {
  fleet: { type: "string" },
  reason: { type: "string" },
  revision: { type: "string" },
  "skill-hash": { type: "string" },
  "gateway-version": { type: "string" },
  gateway: { type: "string" },
  for: { type: "string" },
  off: { type: "boolean", default: false },
  mute: { type: "boolean", default: false },
  json: { type: "boolean", default: false },
} as const;

type Values = { [K in keyof typeof OPTIONS]?: string | boolean | undefined };

interface Said {
  readonly name: string;
  readonly summary: string;
  readonly usage: string;
  /** What goes into the log; throws Terminal `usage` when an option is missing. */
  readonly content: (values: Values) => ControlContent;
}

const text = (values: Values, name: keyof Values): string | undefined =>
  typeof values[name] === "string" ? values[name] : undefined;

function needed(values: Values, name: keyof Values, why: string): string {
  const value = text(values, name);
  if (value === undefined || value.trim() === "") throw terminal("usage", `--${name} is needed: ${why}`);
  return value;
}

const whyOf = (values: Values): string => needed(values, "reason", "it goes into the log and the verdict").slice(0, 200);

const SAID: readonly Said[] = [
  {
    name: "start",
    summary: "open a run by hand",
    usage: "run start <namespace/name> --revision <name> [--skill-hash <64 hex>] [--gateway-version <version>]",
    content: (values) => {
      const skill_hash = text(values, "skill-hash");
      const gateway_version = text(values, "gateway-version");
      return {
        verb: "start",
        caller: "operator",
        revision: needed(values, "revision", "what this run is about"),
        ...(skill_hash === undefined ? {} : { skill_hash }),
        ...(gateway_version === undefined ? {} : { gateway_version }),
      };
    },
  },
  {
    name: "abort",
    summary: "end a run without a result",
    usage: 'run abort <namespace/name> --reason "…"',
    content: (values) => ({ verb: "abort", caller: "operator", reason: whyOf(values) }),
  },
  {
    name: "clear",
    summary: "clear a latched failure",
    usage: 'run clear <namespace/name> --reason "…"',
    content: (values) => ({ verb: "clear", caller: "operator", reason: whyOf(values) }),
  },
  {
    name: "pause",
    summary: "hold a run until it is resumed",
    usage: 'run pause <namespace/name> --reason "…"',
    content: (values) => ({ verb: "pause", caller: "operator", reason: whyOf(values) }),
  },
  {
    name: "resume",
    summary: "end a pause",
    usage: 'run resume <namespace/name> --reason "…"',
    content: (values) => ({ verb: "resume", caller: "operator", reason: whyOf(values) }),
  },
  {
    name: "maintenance",
    summary: "hold a canary, or one of its gateways, while people work on it",
    usage: 'run maintenance <namespace/name> --reason "…" [--gateway <name>] [--for 2h] [--mute] [--off]',
    content: (values) => {
      const gateway = text(values, "gateway");
      const duration = text(values, "for");
      const until = duration === undefined ? undefined : isoTime(systemClock.now() + durationArg("for", duration));
      return {
        verb: "maintenance",
        caller: "operator",
        on: values.off !== true,
        mute: values.mute === true,
        reason: values.off === true ? (text(values, "reason") ?? "over") : whyOf(values),
        ...(gateway === undefined ? {} : { gateway }),
        ...(until === undefined ? {} : { until }),
      };
    },
  },
];

function canaryArg(positionals: readonly string[]): CanaryRef {
  const [key] = positionals;
  const canary = key === undefined ? undefined : parseCanaryKey(key);
  if (positionals.length !== 1 || canary === undefined) throw terminal("usage", "name one canary as <namespace>/<name>");
  return canary;
}

const SHOW_USAGE = "run show [<namespace/name>] [--json]";

const showVerb: Command = {
  name: "run show",
  summary: "the run of a canary, with every reason",
  usage: SHOW_USAGE,
  run: (args, io) =>
    told(SHOW_USAGE, io, async () => {
      const { values, positionals } = parseArgs({
        args: [...args],
        allowPositionals: true,
        options: { json: { type: "boolean", default: false } },
      });
      const canary = positionals.length === 0 ? await onlyCanary(io) : canaryArg(positionals);
      const view = await getFromShim<CanaryView>(shimOf(io), `/api/v1/canaries/${canaryKey(canary)}`, io.signal);
      if (values.json) io.stdout.write(`${JSON.stringify(view)}\n`);
      else {
        const meanings = Object.entries(view.meanings ?? {}).map(([code, meaning]) => `  ${code.padEnd(18)} ${meaning}`);
        const what = meanings.length === 0 ? [] : ["", "What these words mean:", ...meanings];
        io.stdout.write(`${[...canaryLines(view, painterFor(io.stdout)), ...what].join("\n")}\n`);
      }
      return 0;
    }),
};

/** Where there is just one canary it need not be named. */
async function onlyCanary(io: CommandIo): Promise<CanaryRef> {
  const { canaries } = await getFromShim<Overview>(shimOf(io), "/api/v1/canaries", io.signal);
  const [only, ...more] = canaries.map((canary) => canary.subject);
  if (only === undefined || more.length > 0)
    throw terminal("usage", `name one canary: ${canaries.map(({ subject }) => canaryKey(subject)).join(", ")}`);
  return only;
}

/** Publishes what was said. The id holds the time, because an operator who says it twice means it twice. */
async function say(canary: CanaryRef, content: ControlContent, fleetFile: string | undefined, io: CommandIo): Promise<void> {
  const { setup, path } = await openSetup(fleetFile, io);
  const known = setup.canaries.get(canaryKey(canary));
  if (known === undefined)
    throw terminal("unknown_canary", `${path} has no canary ${canaryKey(canary)}: ${[...setup.canaries.keys()].join(", ")}`);
  if (content.verb === "maintenance" && content.gateway !== undefined) {
    const names = known.gateways.flatMap((key) => setup.gateways.get(key)?.name ?? []);
    if (!names.includes(content.gateway))
      throw terminal("unknown_gateway", `${path} has no gateway ${content.gateway} in ${known.fleet}: ${names.join(", ")}`);
  }
  const bus = await openBus(io);
  try {
    const at = isoTime(systemClock.now());
    const message = controlMessage(canary, content, at, at);
    const stored = await bus.publish({
      subject: controlSubject(known.fleet, canary, content.verb),
      id: message.id,
      data: JSON.stringify(message),
    });
    io.stdout.write(
      `${content.verb} of ${canaryKey(canary)} stored as message ${stored.sequence}; \`aviary run show ${canaryKey(canary)}\` tells what became of it\n`,
    );
  } finally {
    await bus[Symbol.asyncDispose]();
  }
}

export const RUN_VERBS: readonly Command[] = [
  showVerb,
  ...SAID.map(
    ({ name, summary, usage, content }): Command => ({
      name: `run ${name}`,
      summary,
      usage,
      run: (args, io) =>
        told(usage, io, async () => {
          const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options: OPTIONS });
          await say(canaryArg(positionals), content(values), values.fleet, io);
          return 0;
        }),
    }),
  ),
];
