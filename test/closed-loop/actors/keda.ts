/**
 * KEDA 2.20 with its HPA, for one lane. The operator scales from 0 to 1 and back to 0; the autoscaler does everything in
 * between. An error keeps the replicas.
 */
import type { Response } from "./flagger.ts";

export interface KedaOptions {
  readonly read: () => Promise<Response | undefined>;
  readonly perReplica: number;
  readonly maxReplicas: number;
  readonly now: () => number;
}

export interface Keda {
  readonly replicas: number;
  /** One polling interval. */
  tick(): Promise<void>;
}

/** The cooldown and the stabilization window of the published ScaledObject. */
const COOLDOWN_MS = 120_000;
const STABILIZATION_MS = 120_000;
/** `--horizontal-pod-autoscaler-tolerance`. */
const TOLERANCE = 0.1;

export function createKeda({ read, perReplica, maxReplicas, now }: KedaOptions): Keda {
  let replicas = 0;
  let activeAtMs = Number.NEGATIVE_INFINITY;
  /** Recommendations of the stabilization window: the highest counts when scaling down. */
  let recommended: { atMs: number; replicas: number }[] = [];

  const depthOf = (response: Response | undefined): number | undefined => {
    if (response?.status !== 200) return undefined;
    // `valueLocation: scale.depth`, read as text: null is an error.
    const depth = /"scale":\{[^}]*?"depth":(\d+)/.exec(response.body)?.[1];
    return depth === undefined ? undefined : Number(depth);
  };
  const desired = (depth: number): number => {
    const usage = depth / perReplica;
    if (replicas > 0 && Math.abs(usage / replicas - 1) <= TOLERANCE) return replicas;
    return Math.min(maxReplicas, Math.max(1, Math.ceil(usage)));
  };

  return {
    get replicas() {
      return replicas;
    },
    async tick() {
      const depth = depthOf(await read());
      if (depth === undefined) return;
      const atMs = now();
      if (depth > 0) activeAtMs = atMs;
      if (depth === 0 && atMs - activeAtMs >= COOLDOWN_MS) {
        replicas = 0;
        recommended = [];
        return;
      }
      if (replicas === 0 && depth === 0) return;
      recommended = [...recommended.filter((each) => atMs - each.atMs < STABILIZATION_MS), { atMs, replicas: desired(depth) }];
      const highest = Math.max(...recommended.map((each) => each.replicas));
      const next = recommended.at(-1)!.replicas;
      replicas = next >= replicas ? next : Math.min(replicas, highest);
    },
  };
}
