/**
 * `aviary fleet …`: faults, releases and weight of the local fleet. The commands change its control files, which the fleet
 * watches.
 */
import { type CommandCall, defineCommand } from "@aviary/shared/commands/command.ts";
import { folder, oneOf, text } from "@aviary/shared/commands/options.ts";

const directory = folder({
  description: "The directory of the local fleet (default: the one started last)",
  example: ".aviary/run",
});
const options = { directory };
const faultOptions = {
  az: text("name", { description: "Only gateways in this AZ", example: "az-b" }),
  slice: oneOf("slice", ["canary", "stable"], { description: "Only gateways of this slice" }),
  gateway: text("name", { description: "Only this gateway", example: "mac-b1" }),
  directory,
};
const faultArgs = {
  fault: {
    description: "The fault",
    presence: "required",
    choices: async () => (await import("../faults.ts")).FAULT_NAMES,
    parse: (value: string) => value,
  },
} as const;
const versionArgs = {
  version: { description: "The release", example: "2026.9.8", presence: "required", parse: (value: string) => value },
} as const;
const weightArgs = {
  percent: { description: "A number from 0 to 100", example: "25", presence: "required", parse: parsePercent },
} as const;

export type FleetCall = CommandCall<typeof options>;
export type FaultCall = CommandCall<typeof faultOptions, typeof faultArgs>;
export type ReleaseCall = CommandCall<typeof options, typeof versionArgs>;
export type WeightCall = CommandCall<typeof options, typeof weightArgs>;

const actions = () => import("./actions/fleet.ts");

export const FLEET_COMMANDS = [
  defineCommand({
    name: "fleet status",
    summary: "Show the gateways, releases and faults of the local fleet",
    options,
    formats: ["table", "wide", "json"],
    examples: ["aviary fleet status"],
    run: async (call) => (await actions()).showStatus(call),
  }),
  defineCommand({
    name: "fleet fault",
    summary: "Inject a fault into the local fleet",
    details: "Without --az, --slice or --gateway each fault has its own default target.",
    args: faultArgs,
    options: faultOptions,
    examples: ["aviary fleet fault 5xx", "aviary fleet fault dead --gateway mac-b1"],
    run: async (call) => (await actions()).runFault(call),
  }),
  defineCommand({
    name: "fleet heal",
    summary: "Remove all faults of the local fleet",
    options,
    run: async (call) => (await actions()).removeFaults(call),
  }),
  defineCommand({
    name: "fleet release",
    summary: "Install a release on the canary slice",
    args: versionArgs,
    options,
    examples: ["aviary fleet release 2026.9.8"],
    run: async (call) => (await actions()).installOnCanary(call),
  }),
  defineCommand({
    name: "fleet restore",
    summary: "Install stable's release on the canary slice",
    options,
    run: async (call) => (await actions()).restoreCanarySlice(call),
  }),
  defineCommand({
    name: "fleet promote",
    summary: "Install the canary slice's release on stable",
    options,
    run: async (call) => (await actions()).promoteCanary(call),
  }),
  defineCommand({
    name: "fleet weight",
    summary: "Set the canary slice's share of the traffic",
    args: weightArgs,
    options,
    examples: ["aviary fleet weight 25"],
    run: async (call) => (await actions()).setCanaryWeight(call),
  }),
];

/** @throws TypeError that states the range */
function parsePercent(value: string): number {
  if (!/^\d{1,3}(\.\d+)?$/.test(value) || Number(value) > 100) throw new TypeError("expected a number from 0 to 100");
  return Number(value);
}
