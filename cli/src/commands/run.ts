/** `aviary run …`: shows the run of a canary, and publishes an operator's control messages. */
import { type CommandCall, defineCommand } from "@aviary/shared/commands/command.ts";
import { durationOption, flag, fleetOption, text } from "@aviary/shared/commands/options.ts";
import { type CanaryRef, parseCanaryKey } from "@aviary/shared/contract/subjects.ts";

const canarySettings = { description: "The canary, as <namespace>/<name>", example: "prod/payments-gateway" } as const;

/** @throws TypeError that states the form */
function parseCanary(key: string): CanaryRef {
  const canary = parseCanaryKey(key);
  if (canary === undefined) throw new TypeError("expected <namespace>/<name>");
  return canary;
}

const args = { canary: { ...canarySettings, presence: "required", parse: parseCanary } } as const;
const showArgs = { canary: { ...canarySettings, presence: "optional", parse: parseCanary } } as const;

const MAX_REASON_CHARS = 200;
const SHOWN = "shown with the verdict";
const RECORDED = "recorded in the event log";

/** The option `--reason` of one verb. @param use the place in which the reason is shown */
function reasonSettings(use: string, example: string) {
  return { description: `Why, at most ${MAX_REASON_CHARS} characters; ${use}`, example } as const;
}

/** @throws TypeError that states the limit */
function parseReason(reason: string): string {
  if (reason.length > MAX_REASON_CHARS)
    throw new TypeError(`expected at most ${MAX_REASON_CHARS} characters, found ${reason.length}`);
  return reason;
}

const startOptions = {
  revision: text("name", { description: "The revision that the run analyzes", example: "v2", required: true }),
  skillHash: text("64 hex digits", { description: "The skill pack that the canary must run" }),
  gatewayVersion: text("version", { description: "The gateway release that the canary must run", example: "2026.9.8" }),
  fleet: fleetOption,
};

const maintenanceOptions = {
  reason: {
    ...text("text", reasonSettings(`${SHOWN}; required unless --off`, '"disk swap"')),
    parse: parseReason,
  },
  gateway: text("name", { description: "Only this gateway, not the whole canary", example: "mac-a1" }),
  for: durationOption({ description: "End the maintenance after this time (default: until --off)", example: "2h" }),
  mute: flag("Reject promotions during the maintenance, and mark its notifications as expected"),
  off: flag("End the maintenance"),
  fleet: fleetOption,
};

export type ShowCall = CommandCall<Record<never, never>, typeof showArgs>;
export type ControlCall = CommandCall<{ fleet: typeof fleetOption }, typeof args>;
export type MaintenanceCall = CommandCall<typeof maintenanceOptions, typeof args>;

const control = () => import("./actions/control.ts");
const CONTROL_FORMATS = ["table", "json"] as const;
const EFFECT_DETAILS =
  "Waits up to 10 s for a verdict that shows the effect, and prints the state before and after. Exits with 1 if nothing changed.";

export const showCommand = defineCommand({
  name: "run show",
  summary: "Show the run of a canary with every reason",
  details: "The canary may be omitted if the fleet has only one.",
  args: showArgs,
  options: {},
  formats: ["table", "wide", "json"],
  examples: ["aviary run show prod/payments-gateway", "aviary run show -o json | jq .run"],
  run: async (call) => (await import("./actions/show.ts")).show(call),
});

export const startCommand = defineCommand({
  name: "run start",
  summary: "Start a run manually",
  details: EFFECT_DETAILS,
  args,
  options: startOptions,
  formats: CONTROL_FORMATS,
  examples: ["aviary run start prod/payments-gateway --revision v2"],
  run: async (call) => {
    const { revision, skillHash, gatewayVersion } = call.options;
    return await (await control()).publishControl(call, {
      verb: "start",
      caller: "operator",
      revision,
      ...(skillHash === undefined ? {} : { skill_hash: skillHash }),
      ...(gatewayVersion === undefined ? {} : { gateway_version: gatewayVersion }),
    });
  },
});

const RESULTS = ["succeeded", "failed"] as const;
type Result = (typeof RESULTS)[number];
const endArgs = {
  ...args,
  result: {
    description: "How it ended: succeeded or failed",
    presence: "required",
    parse: (word: string): Result => {
      const result = RESULTS.find((known) => known === word);
      if (result === undefined) throw new TypeError("expected succeeded or failed");
      return result;
    },
  },
} as const;

/** Takes the place of a controller that never reports the end. */
export const endCommand = defineCommand({
  name: "run end",
  summary: "Report the end of a run whose controller does not",
  details: "A success counts only if the run was promotable or its promotion was granted.",
  args: endArgs,
  options: { fleet: fleetOption },
  examples: ["aviary run end prod/payments-gateway failed"],
  run: async (call) =>
    await (await control()).publishControl(call, { verb: "end", caller: "operator", result: call.args.result }),
});

interface ReasonedVerb {
  readonly verb: "abort" | "clear" | "pause" | "resume";
  readonly summary: string;
  readonly reason: ReturnType<typeof reasonSettings>;
}

/** A control message that contains only a reason. */
const reasonedCommand = ({ verb, summary, reason }: ReasonedVerb) =>
  defineCommand({
    name: `run ${verb}`,
    summary,
    details: EFFECT_DETAILS,
    args,
    options: { reason: { ...text("text", { ...reason, required: true }), parse: parseReason }, fleet: fleetOption },
    formats: CONTROL_FORMATS,
    examples: [`aviary run ${verb} prod/payments-gateway --reason ${reason.example}`],
    run: async (call) => await (await control()).publishControl(call, { verb, caller: "operator", reason: call.options.reason }),
  });

export const RUN_COMMANDS = [
  showCommand,
  startCommand,
  endCommand,
  reasonedCommand({
    verb: "abort",
    summary: "End a run without a result",
    reason: reasonSettings(RECORDED, '"wrong image"'),
  }),
  reasonedCommand({
    verb: "clear",
    summary: "Clear a latched failure",
    reason: reasonSettings(SHOWN, '"caused by a load test"'),
  }),
  reasonedCommand({
    verb: "pause",
    summary: "Hold a run until `run resume`",
    reason: reasonSettings(SHOWN, '"latency under investigation"'),
  }),
  reasonedCommand({
    verb: "resume",
    summary: "End a pause",
    reason: reasonSettings(RECORDED, '"latency explained"'),
  }),
  defineCommand({
    name: "run maintenance",
    summary: "Hold a canary, or exclude one of its gateways, during maintenance",
    details: `--off without --gateway ends the maintenance of the canary; each gateway's own lasts until its own --off. ${EFFECT_DETAILS}`,
    args,
    options: maintenanceOptions,
    formats: CONTROL_FORMATS,
    examples: [
      'aviary run maintenance prod/payments-gateway --for 2h --reason "upgrade"',
      "aviary run maintenance prod/payments-gateway --off",
    ],
    run: async (call) => (await import("./actions/maintenance.ts")).maintenance(call),
  }),
];
