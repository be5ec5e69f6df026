/** Applies a fault to its Mac and schedules its end. */
import { START_MS } from "../../simulation/kernel.ts";
import type { InjectedFault } from "./faults.ts";
import { type Mac, startCollector } from "./mac.ts";
import type { World } from "./world.ts";

/** Above the yellow mark and below the red one of either tier. */
const FOREIGN_DISK = 0.84;

/** Starts a fault of one Mac, and schedules its end. */
export function injectMacFault(world: World, mac: Mac, fault: InjectedFault): void {
  const { kernel } = world;
  const atEnd = (undo: () => void): void => void kernel.after(fault.forMs, undefined, undo);
  switch (fault.kind) {
    case "reboot":
      reboot(world, mac, fault.forMs, fault.clockOffsetMs);
      atEnd(() => Object.assign(mac, { clockOffsetMs: 0 }));
      break;
    case "maintenance":
      kernel.after(fault.forMs / 4, undefined, () => reboot(world, mac, fault.forMs, 0));
      break;
    case "cut":
      mac.isCut = true;
      atEnd(() => Object.assign(mac, { isCut: false }));
      break;
    case "collector-down":
      mac.collectorUp = false;
      atEnd(() => world.remedy(mac, "collector"));
      break;
    case "probe-gone": {
      const { probe } = fault;
      mac.missingProbes.add(probe);
      atEnd(() => mac.missingProbes.delete(probe));
      break;
    }
    case "log-rotated":
      mac.logRotated = true;
      atEnd(() => Object.assign(mac, { logRotated: false }));
      break;
    case "disk-fills":
      mac.foreignDisk = FOREIGN_DISK;
      break;
  }
}

/** Down for at most half a window, so that the collector is back before the fault ends. */
function reboot({ kernel, plan }: World, mac: Mac, forMs: number, clockOffsetMs: number): void {
  const downMs = Math.min(forMs / 2, plan.windowMs / 2);
  mac.collectorUp = false;
  mac.downUntilMs = kernel.nowMs + downMs;
  kernel.after(downMs, undefined, () => {
    Object.assign(mac, { bootedAtMs: kernel.nowMs, clockOffsetMs, restarts: mac.restarts + 1 });
    startCollector(mac, START_MS + kernel.nowMs + clockOffsetMs);
  });
}
