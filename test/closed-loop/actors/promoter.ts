/**
 * The pipeline that installs packs. The new pack goes to the canary Macs one after another; after a failure they get stable's
 * pack again, and after a success the stable Macs get the new one. Each Mac needs permission, and a rejection is retried.
 */
import type { Slice } from "@aviary/shared/contract/run.ts";
import type { Advisor } from "../advisors/advisor.ts";
import { install, type Mac } from "../world/mac.ts";
import type { ReleasePlan } from "../world/releases.ts";
import type { World } from "../world/world.ts";

export interface Promoter {
  /** Sets the release of a slice. Its installation waits for permission. */
  setRelease(slice: Slice, release: ReleasePlan | undefined): void;
  readonly stable: ReleasePlan | undefined;
}

export function createPromoter(world: World, advisor: Pick<Advisor, "mayInstall">): Promoter {
  const { kernel, plan, record } = world;
  const wanted: Record<Slice, ReleasePlan | undefined> = { canary: undefined, stable: undefined };
  /** Installation time per Mac, and the delay before a rejected installation is retried. */
  const stepMs = plan.windowMs / 10;
  let isWorking = false;

  const pendingMacs = (): Mac[] => world.macs.filter((mac) => mac.release !== wanted[mac.plan.slice]);
  const work = (): void => {
    const pending = pendingMacs();
    isWorking = pending.length > 0;
    if (!isWorking) return;
    const allowed = pending.find((mac) => advisor.mayInstall(mac, wanted[mac.plan.slice]));
    if (allowed !== undefined) {
      const release = wanted[allowed.plan.slice];
      install(allowed, release, kernel.nowMs);
      record.installations.push({ atMs: kernel.nowMs, slice: allowed.plan.slice, release });
      world.narrate(`promoter ${release?.name ?? "v1"} is installed on ${allowed.plan.name}`);
    }
    kernel.after(stepMs, undefined, work);
  };

  return {
    get stable() {
      return wanted.stable;
    },
    setRelease(slice, release) {
      wanted[slice] = release;
      if (isWorking || pendingMacs().length === 0) return;
      isWorking = true;
      kernel.after(stepMs, undefined, work);
    },
  };
}
