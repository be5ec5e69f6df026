/**
 * The stored form of a canary's state in a checkpoint: some fields are stored under the names that earlier versions gave them,
 * so that their checkpoints remain readable.
 */
import type { CanaryState, Run } from "./state.ts";

const CANARY: Readonly<Partial<Record<keyof CanaryState, string>>> = {
  grid: "frame",
  rollbackRelease: "baseline",
  emittedIncidentIds: "told",
  lastFingerprint: "lastSaid",
  reconciledAtMs: "settledAtMs",
};

const RUN: Readonly<Partial<Record<keyof Run, string>>> = {
  releaseBefore: "before",
  restored: "over",
};

/** Fields that checkpoints of the first version lack. */
const CANARY_SINCE_FIRST_VERSION = {
  configHash: null,
  revisions: [],
  lastPromotable: false,
  passedRelease: null,
} satisfies Partial<CanaryState> as Partial<CanaryState>;

/** Fields that runs in them lack. A weight of 0 stood for an unknown one as well. */
function completeRun(stored: Run): Run {
  const judging = stored.openedBy === "controller" || stored.openedBy === "operator";
  return {
    ...{
      attempt: 1,
      seat: null,
      lastCallMs: stored.sinceMs,
      cleared: null,
      balancerWeight: null,
      shiftedSinceMs: 0,
      failedBefore: null,
    },
    ...{ granted: (stored.weight ?? 0) > 0, promotionGranted: false, endReported: false, endedBy: null },
    ...stored,
    weight: judging && stored.weight === 0 && !("granted" in stored) ? null : stored.weight,
  };
}

type Names = Readonly<Record<string, string | undefined>>;

const inverted = (names: Names): Names => Object.fromEntries(Object.entries(names).map(([name, stored]) => [stored, name]));
const FROM_STORED = { canary: inverted(CANARY), run: inverted(RUN) };

/** The state of a canary as a checkpoint stores it. */
export function storeCanary(canary: CanaryState): object {
  return renamed({ ...canary, run: canary.run === null ? null : renamed(canary.run, RUN) }, CANARY);
}

/** The state of a canary from its stored form. */
export function restoreCanary(stored: object): CanaryState {
  const canary = { ...structuredClone(CANARY_SINCE_FIRST_VERSION), ...renamed(stored, FROM_STORED.canary) } as CanaryState;
  if (canary.run !== null) canary.run = completeRun(renamed(canary.run, FROM_STORED.run) as Run);
  return canary;
}

/** A copy of an object with other field names, in the same order. */
function renamed(fields: object, names: Names): object {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [names[name] ?? name, value]));
}
