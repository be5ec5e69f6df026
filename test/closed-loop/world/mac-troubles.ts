/** The effect of a trouble on its Mac, and its end. */
import { START_MS } from "../../simulation/kernel.ts";
import { type Mac, startCollector } from "./mac.ts";
import type { Trouble } from "./troubles.ts";
import type { World } from "./world.ts";

/** Above the yellow mark and below the red one of either tier. */
const FOREIGN_DISK = 0.84;

/** Begins a trouble of one Mac, and schedules its end. */
export function troubleMac(world: World, mac: Mac, trouble: Trouble): void {
  const { kernel } = world;
  const atEnd = (undo: () => void): void => void kernel.after(trouble.forMs, undefined, undo);
  switch (trouble.kind) {
    case "reboot":
      reboot(world, mac, trouble.forMs, trouble.clockOffsetMs);
      atEnd(() => Object.assign(mac, { clockOffsetMs: 0 }));
      break;
    case "maintenance":
      kernel.after(trouble.forMs / 4, undefined, () => reboot(world, mac, trouble.forMs, 0));
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
      const { probe } = trouble;
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

/** Down for at most half a window, so that the collector is back before the trouble ends. */
function reboot({ kernel, plan }: World, mac: Mac, forMs: number, clockOffsetMs: number): void {
  const downMs = Math.min(forMs / 2, plan.windowMs / 2);
  mac.collectorUp = false;
  mac.downUntilMs = kernel.nowMs + downMs;
  kernel.after(downMs, undefined, () => {
    Object.assign(mac, { bootedAtMs: kernel.nowMs, clockOffsetMs, restarts: mac.restarts + 1 });
    startCollector(mac, START_MS + kernel.nowMs + clockOffsetMs);
  });
}
