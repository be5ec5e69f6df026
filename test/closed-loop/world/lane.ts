/** The build queue and the workers that empty it. The plan sets the demand, KEDA the replicas. */

export const PER_REPLICA = 8;
/** The lane's limit while no run is open; demand above it is not starvation. */
export const MAX_REPLICAS = 100;
export const STABLE_MAX = 2;

/** The lane at one instant. */
export interface LaneView {
  readonly atMs: number;
  readonly jobs: number;
  readonly replicas: number;
  /** When the demand last changed. */
  readonly demandSinceMs: number;
  /** Whether the Mac that reports the depth is reporting, and no disk limits the lane. */
  readonly isReported: boolean;
  /** Whether the advisor reports an open run. */
  readonly runOpen: boolean;
}

/** The replicas that a number of jobs needs. */
export const neededReplicas = (jobs: number): number => Math.min(MAX_REPLICAS, Math.ceil(jobs / PER_REPLICA));

export interface Lane {
  jobs: number;
  demandSinceMs: number;
  replicas: number;
}

export const createLane = (): Lane => ({ jobs: 0, demandSinceMs: 0, replicas: 0 });
