/**
 * The stored form of a canary's state in a checkpoint: some fields are stored under the names that earlier versions gave them,
 * so that their checkpoints remain readable.
 */
import { createClockTrack } from "./clock-offset.ts";
import { type GatewayState, NO_BOOTS } from "./gateway.ts";
import { createRestartTrack } from "./restarts.ts";
import { createSequenceTrack, type SequenceTrack } from "./sequence.ts";
import type { CanaryState, Run } from "./state.ts";
import type { OpenWindow, WindowGrid } from "./window.ts";

const CANARY: Readonly<Partial<Record<keyof CanaryState, string>>> = {
  grid: "frame",
  rollbackRelease: "baseline",
  emittedIncidentIds: "told",
  lastFingerprint: "lastSaid",
  reconciledAtMs: "settledAtMs",
};

const RUN: Readonly<Partial<Record<keyof Run, string>>> = {
  releaseBefore: "before",
  earlierRelease: "failedBefore",
  restored: "over",
};

/** Fields that checkpoints of the first version lack. */
const sinceFirstVersion = (): Partial<CanaryState> => ({
  configHash: null,
  configuredAtMs: 0,
  disks: new Map(),
  brokerStep: null,
  revisions: [],
  lastRunState: "",
  lastPromotable: false,
  lastStable: null,
  passedRelease: null,
  failedRelease: null,
});

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
      earlierRelease: null,
      retriesFailed: false,
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
  const canary = { ...sinceFirstVersion(), ...renamed(stored, FROM_STORED.canary) } as CanaryState;
  if (canary.run !== null) canary.run = completeRun(renamed(canary.run, FROM_STORED.run) as Run);
  if (canary.grid !== null) canary.grid = restoreGrid(canary.grid);
  return canary;
}

/** Fields that checkpoints of the first version lack. */
type LaterField = "releaseBoots" | "findingsBegan" | "restarts" | "clock";

/** The state of a gateway as a checkpoint stores it; earlier versions lack some fields. */
export type StoredGateway = Omit<GatewayState, "sequence" | LaterField> & {
  readonly sequence: Partial<SequenceTrack>;
} & Partial<Pick<GatewayState, LaterField>>;

/** The state of a gateway from its stored form. */
export function restoreGateway(stored: StoredGateway): GatewayState {
  for (const seen of stored.seen.values()) {
    seen.boot ??= null;
    seen.cadenceMs ??= seen.periodMs;
  }
  const later = {
    releaseBoots: { ...NO_BOOTS },
    findingsBegan: new Map(),
    restarts: createRestartTrack(),
    clock: createClockTrack(),
  };
  return { ...later, ...stored, sequence: { ...createSequenceTrack(), ...stored.sequence } };
}

function restoreGrid(stored: Omit<WindowGrid, "firstMs"> & Partial<Pick<WindowGrid, "firstMs">>): WindowGrid {
  const open = new Map(Array.from(stored.open, ([index, window]) => [index, withAccounts(window)]));
  return { ...stored, firstMs: stored.firstMs ?? stored.originMs, open };
}

/** An open window that a version without accounts stored covers nothing: it closes incomplete. */
function withAccounts(window: Omit<OpenWindow, "accounts"> & Partial<Pick<OpenWindow, "accounts">>): OpenWindow {
  return { ...window, accounts: window.accounts ?? new Map() };
}

/** A copy of an object with other field names, in the same order. */
function renamed(fields: object, names: Names): object {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [names[name] ?? name, value]));
}
