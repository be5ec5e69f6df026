/** Every command of `aviary`, in the order of its help. The only file that imports commands of services. */
import { probeCommand } from "@aviary/collector/commands/probe.ts";
import { diffPolicyCommand } from "@aviary/evaluator/commands/diff-policy.ts";
import { explainCommand } from "@aviary/evaluator/commands/explain.ts";
import { recordCommand } from "@aviary/evaluator/commands/record.ts";
import { replayCommand } from "@aviary/evaluator/commands/replay.ts";
import { FLEET_COMMANDS } from "@aviary/example-fleet/commands/fleet.ts";
import type { Command, CommandGroup } from "@aviary/shared/commands/command.ts";
import type { Section } from "@aviary/shared/commands/program.ts";
import { completionCommand } from "./commands/completion.ts";
import { checkConfigCommand } from "./commands/config-check.ts";
import { RUN_COMMANDS } from "./commands/run.ts";
import { signalsTailCommand } from "./commands/signals-tail.ts";
import { statusCommand } from "./commands/status.ts";
import { STREAMS_COMMANDS } from "./commands/streams.ts";
import { watchCommand } from "./commands/watch.ts";

export const GROUPS: readonly CommandGroup[] = [
  { name: "run", summary: "Show or control the run of a canary" },
  { name: "signals", summary: "Inspect signals" },
  { name: "streams", summary: "Inspect or create the streams on the broker" },
  { name: "collector", summary: "Test a collector" },
  { name: "config", summary: "Check configuration files" },
  { name: "fleet", summary: "Control the local fleet of `npm start`" },
];

export const SECTIONS: readonly Section[] = [
  { heading: "Canaries:", commands: [statusCommand, watchCommand, ...RUN_COMMANDS] },
  { heading: "Verdicts:", commands: [explainCommand, replayCommand, recordCommand, diffPolicyCommand] },
  { heading: "Operations:", commands: [signalsTailCommand, ...STREAMS_COMMANDS, probeCommand, checkConfigCommand] },
  { heading: "Local fleet:", commands: [...FLEET_COMMANDS] },
  { heading: "Command line:", commands: [completionCommand] },
];

export const COMMANDS: readonly Command[] = SECTIONS.flatMap((section) => section.commands);
