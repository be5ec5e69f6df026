/**
 * Every verb of `aviary`, in the order in which help shows them. A verb is loaded when it is called, so the list costs nothing.
 * This is the only place that imports services.
 */
import type { Command } from "@aviary/shared/commands/command.ts";

export interface Entry {
  readonly name: string;
  readonly summary: string;
  readonly load: () => Promise<Command>;
}

const run = async (name: string): Promise<Command> => {
  const { RUN_VERBS } = await import("./commands/run.ts");
  return found(RUN_VERBS, `run ${name}`);
};
const streams = async (name: string): Promise<Command> => {
  const { STREAM_VERBS } = await import("./commands/streams.ts");
  return found(STREAM_VERBS, `streams ${name}`);
};
const fleet = async (name: string): Promise<Command> => {
  const { FLEET_VERBS } = await import("@aviary/example-fleet/commands/fleet.ts");
  return found(FLEET_VERBS, `fleet ${name}`);
};

function found(verbs: readonly Command[], name: string): Command {
  const verb = verbs.find((candidate) => candidate.name === name);
  if (verb === undefined) throw new Error(`the list names ${name}, and no such verb exists`);
  return verb;
}

export const COMMANDS: readonly Entry[] = [
  {
    name: "status",
    summary: "what every canary is told now, and why",
    load: async () => (await import("./commands/status.ts")).statusVerb,
  },
  {
    name: "watch",
    summary: "the same, as it changes",
    load: async () => (await import("./commands/watch.ts")).watchVerb,
  },
  { name: "run show", summary: "the run of a canary, with every reason", load: () => run("show") },
  { name: "run start", summary: "open a run by hand", load: () => run("start") },
  { name: "run abort", summary: "end a run without a result", load: () => run("abort") },
  { name: "run clear", summary: "clear a latched failure", load: () => run("clear") },
  { name: "run pause", summary: "hold a run until it is resumed", load: () => run("pause") },
  { name: "run resume", summary: "end a pause", load: () => run("resume") },
  {
    name: "run maintenance",
    summary: "hold a canary, or one of its gateways, while people work on it",
    load: () => run("maintenance"),
  },
  {
    name: "explain",
    summary: "every number behind a verdict, in words",
    load: async () => (await import("@aviary/evaluator/commands/explain.ts")).explainVerb,
  },
  {
    name: "replay",
    summary: "judge recorded input again, byte for byte",
    load: async () => (await import("@aviary/evaluator/commands/replay.ts")).replayVerb,
  },
  {
    name: "record",
    summary: "save a stretch of production as a case folder",
    load: async () => (await import("@aviary/evaluator/commands/record.ts")).recordVerb,
  },
  {
    name: "diff-policy",
    summary: "say which recorded verdicts another policy would change",
    load: async () => (await import("@aviary/evaluator/commands/diff-policy.ts")).diffPolicyVerb,
  },
  {
    name: "signals tail",
    summary: "signals as they are stored",
    load: async () => (await import("./commands/signals-tail.ts")).signalsTailVerb,
  },
  { name: "streams print", summary: "the streams, buckets and consumers that must exist", load: () => streams("print") },
  { name: "streams diff", summary: "how the broker differs from that", load: () => streams("diff") },
  { name: "streams apply", summary: "make the broker like that; deletes nothing", load: () => streams("apply") },
  {
    name: "collector probe",
    summary: "what one probe of a collector would publish",
    load: async () => (await import("@aviary/collector/commands/probe.ts")).probeVerb,
  },
  { name: "fleet status", summary: "the local fleet: gateways, releases, faults", load: () => fleet("status") },
  {
    name: "fleet fault",
    summary: "break the local fleet: 5xx, slow, skills, disk, dead, draining, clock, cut, queue",
    load: () => fleet("fault"),
  },
  { name: "fleet heal", summary: "end all faults of the local fleet", load: () => fleet("heal") },
  { name: "fleet release", summary: "put a release on the canary slice", load: () => fleet("release") },
  { name: "fleet restore", summary: "put stable's release back on the canary slice", load: () => fleet("restore") },
  { name: "fleet promote", summary: "put the canary slice's release on stable", load: () => fleet("promote") },
  { name: "fleet weight", summary: "set the canary slice's share of the traffic", load: () => fleet("weight") },
];
