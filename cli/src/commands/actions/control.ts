/**
 * Publishes an operator's control message to the event log, after checking its names against the fleet file, and prints its effect.
 */
import { hostname, userInfo } from "node:os";
import { EXIT } from "@aviary/shared/commands/command.ts";
import { openBus } from "@aviary/shared/commands/open-bus.ts";
import { FLEET_OPTION_HINT } from "@aviary/shared/commands/options.ts";
import { type ControlContent, controlMessage, controlSchema } from "@aviary/shared/contract/control.ts";
import { isoTime } from "@aviary/shared/contract/iso-time.ts";
import { canaryKey } from "@aviary/shared/contract/subjects.ts";
import { systemClock } from "@aviary/shared/runtime/clock.ts";
import { checkConfig } from "@aviary/shared/runtime/config.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import { loadFleet } from "@aviary/shared/runtime/fleet-config.ts";
import { type AppliedControl, applyControl } from "../../await-effect.ts";
import { stillInMaintenance, transitionText, unchangedReason } from "../../control-effect.ts";
import type { ControlCall } from "../run.ts";

/** The message id contains the time, so that an operator can repeat a command. */
export async function publishControl(call: ControlCall, content: ControlContent): Promise<number> {
  const { args, options, io, resources } = call;
  const key = canaryKey(args.canary);
  const fleet = await fleetOf(options.fleet, key, content);
  const at = isoTime(systemClock.now());
  const message = controlMessage(args.canary, { ...content, by: operatorName() }, at, at);
  // A message that the evaluator would reject is not published.
  const checked = checkConfig(content.verb, message, controlSchema);
  if (!checked.ok) {
    const texts = checked.problems.map(({ path, expected }) => `${content.verb}: invalid ${path}: expected ${expected}`);
    throw terminal("usage", texts.join("; "));
  }
  const bus = resources.add(await openBus(io));
  const applied = await applyControl(bus, { fleet, canary: args.canary, message }, systemClock);
  report(call, content, applied);
  return applied.effect.changed ? EXIT.success : EXIT.failure;
}

/** The user who runs this command, for audits, such as `ada@laptop`. */
function operatorName(): string {
  return `${userInfo().username}@${hostname()}`.slice(0, 128);
}

/** Prints the state before and after, or why nothing changed. */
function report({ args, output, io }: ControlCall, content: ControlContent, { stored, effect, hasLeader }: AppliedControl): void {
  const why = effect.changed
    ? null
    : hasLeader
      ? unchangedReason(content, effect)
      : "no evaluator is leading; the message takes effect once one is";
  if (output === "json") {
    io.stdout.write(`${JSON.stringify({ message: stored.sequence, ...effect, unchanged_because: why })}\n`);
    return;
  }
  const subject = `${content.verb} of ${canaryKey(args.canary)} (message ${stored.sequence})`;
  if (why === null) io.stdout.write(`${subject}: ${transitionText(effect)}\n`);
  else io.stderr.write(`${subject}: nothing changed in the verdict: ${why}\n`);
  const gateways = stillInMaintenance(content, effect);
  if (gateways.length > 0)
    io.stderr.write(`still in maintenance: ${gateways.join(", ")}; end it for each with --gateway <name> --off\n`);
}

/** The fleet of a canary. @throws Terminal that lists the known names, when the canary or the gateway is unknown */
async function fleetOf(path: string, key: string, content: ControlContent): Promise<string> {
  const { fleet } = await loadFleet(path, FLEET_OPTION_HINT);
  const canary = fleet.canaries[key];
  if (canary === undefined)
    throw terminal(
      "unknown_canary",
      `unknown canary ${key} in ${path}; known canaries: ${Object.keys(fleet.canaries).join(", ")}`,
    );
  if (content.verb !== "maintenance" || content.gateway === undefined) return canary.fleet;
  const gateways = fleet.fleets[canary.fleet]?.gateways.map(({ name }) => name) ?? [];
  if (!gateways.includes(content.gateway)) {
    const known = gateways.join(", ");
    throw terminal(
      "unknown_gateway",
      `unknown gateway ${content.gateway} in ${path}; known gateways of ${canary.fleet}: ${known}`,
    );
  }
  return canary.fleet;
}
