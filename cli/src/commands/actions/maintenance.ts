/** `aviary run maintenance`: starts or ends the maintenance of a canary or of one of its gateways. */
import { isoTime } from "@aviary/shared/contract/iso-time.ts";
import { systemClock } from "@aviary/shared/runtime/clock.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import type { MaintenanceCall } from "../run.ts";
import { publishControl } from "./control.ts";

export async function maintenance(call: MaintenanceCall): Promise<number> {
  const { reason, gateway, for: durationMs, mute, off } = call.options;
  if (!off && (reason ?? "").trim() === "") throw terminal("usage", "--reason is required: it is shown with the verdict");
  return await publishControl(call, {
    verb: "maintenance",
    caller: "operator",
    on: !off,
    mute,
    reason: reason ?? "over",
    ...(gateway === undefined ? {} : { gateway }),
    ...(durationMs === undefined ? {} : { until: isoTime(systemClock.now() + durationMs) }),
  });
}
