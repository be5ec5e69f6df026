/** Publishes an operator's control message to the event log, after checking its names against the fleet file. */
import { EXIT } from "@aviary/shared/commands/command.ts";
import { openBus } from "@aviary/shared/commands/open-bus.ts";
import { FLEET_OPTION_HINT } from "@aviary/shared/commands/options.ts";
import { type ControlContent, controlMessage, controlSchema } from "@aviary/shared/contract/control.ts";
import { isoTime } from "@aviary/shared/contract/iso-time.ts";
import { canaryKey, controlSubject } from "@aviary/shared/contract/subjects.ts";
import { systemClock } from "@aviary/shared/runtime/clock.ts";
import { checkConfig } from "@aviary/shared/runtime/config.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import { loadFleet } from "@aviary/shared/runtime/fleet-config.ts";
import type { ControlCall } from "../run.ts";

/** The message id contains the time, so that an operator can send the same command twice. */
export async function publishControl({ args: { canary }, options, io, resources }: ControlCall, content: ControlContent) {
  const key = canaryKey(canary);
  const fleet = await fleetOf(options.fleet, key, content);
  const at = isoTime(systemClock.now());
  const message = controlMessage(canary, content, at, at);
  // What the evaluator would reject is not published.
  const checked = checkConfig(content.verb, message, controlSchema);
  if (!checked.ok) {
    const texts = checked.problems.map(({ path, expected }) => `${content.verb}: invalid ${path}: expected ${expected}`);
    throw terminal("usage", texts.join("; "));
  }
  const bus = resources.add(await openBus(io));
  const stored = await bus.publish({
    subject: controlSubject(fleet, canary, content.verb),
    id: message.id,
    data: JSON.stringify(message),
  });
  io.stdout.write(
    `${content.verb} of ${key} stored as message ${stored.sequence}; run \`aviary run show ${key}\` to see its effect\n`,
  );
  return EXIT.success;
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
