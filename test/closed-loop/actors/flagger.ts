/**
 * Flagger 1.44 (pkg/controller/scheduler.go and scheduler_hooks.go) for one weighted canary: the requests of one analysis
 * interval in order, and its reaction to their responses. The caller controls time and transport: `tick` is one analysis
 * interval, and a controller that is down does not tick. Its state survives a restart, because Kubernetes stores it.
 */

export type Phase =
  | "Initialized"
  | "Waiting"
  | "Progressing"
  | "WaitingPromotion"
  | "Promoting"
  | "Finalising"
  | "Succeeded"
  | "Failed";

/** A response; undefined if none arrived in time, which Flagger treats as a rejection. */
export interface Response {
  readonly status: number;
  readonly body: string;
}

export interface FlaggerOptions {
  readonly namespace: string;
  readonly name: string;
  /** Sends one webhook. */
  readonly post: (path: string, body: string) => Promise<Response | undefined>;
  /** Evaluates the MetricTemplate; NaN if there is no value. */
  readonly measure: () => Promise<number>;
  /** The metadata of a revision in the hooks. */
  readonly metadata: (revision: string) => Readonly<Record<string, string>>;
  /** Weights in percent, ascending. */
  readonly steps: readonly number[];
  /** Failed checks after which it rolls back. */
  readonly threshold: number;
  /** Time of events, milliseconds since the epoch. */
  readonly now: () => number;
  /** Whether the next event message is lost. */
  readonly losesEvent?: () => boolean;
  /** Called when the balancer's weight changes, and when a rollout starts or ends. */
  readonly onStep?: (step: FlaggerStep) => void;
}

export interface FlaggerStep {
  /** Promoted: the primary gets the new spec, which is irreversible. Finished: all traffic is on the primary. */
  readonly what: "started" | "widened" | "promoted" | "finished" | "rolled-back" | "superseded";
  readonly revision: string;
  readonly weight: number;
}

export interface Flagger {
  readonly phase: Phase;
  readonly weight: number;
  readonly failedChecks: number;
  /** Requests with their responses, one line each. */
  readonly history: readonly string[];
  /** The target's spec changed. */
  deploy(revision: string): void;
  /** The target's spec changed back before the analysis of the new one started; false if there was nothing to revert. */
  revert(): boolean;
  tick(): Promise<void>;
}

export function createFlagger(options: FlaggerOptions): Flagger {
  const { namespace, name, steps, threshold } = options;
  const maxWeight = steps.at(-1)!;
  const state = { phase: "Initialized" as Phase, weight: 0, failedChecks: 0, spec: "v1", applied: "v1" };
  const history: string[] = [];
  let eventTime = 0;

  const step = (what: FlaggerStep["what"], revision = state.applied): void =>
    options.onStep?.({ what, revision, weight: state.weight });
  const post = async (path: string, phase: Phase, more: Record<string, string>): Promise<number> => {
    const metadata = { ...options.metadata(state.spec), ...more };
    const body = {
      name,
      namespace,
      phase,
      checksum: `sum-of-${state.applied}`,
      ...(Object.keys(metadata).length > 0 ? { metadata } : {}),
    };
    const response = await options.post(path, JSON.stringify(body));
    history.push(`${path} ${response === undefined ? "no response" : `${response.status} ${response.body.trim()}`}`);
    return response?.status ?? Number.POSITIVE_INFINITY;
  };
  const hook = async (gate: string, phase: Phase = state.phase): Promise<boolean> =>
    (await post(`/flagger/gate/${gate}`, phase, {})) <= 202;
  const event = async (message: string, phase: Phase = state.phase): Promise<void> => {
    eventTime = Math.max(eventTime + 1, options.now());
    if (options.losesEvent?.()) return;
    await post("/flagger/events", phase, { eventMessage: message, eventType: "Normal", timestamp: String(eventTime) });
  };
  const metricPasses = async (): Promise<boolean> => {
    const value = await options.measure();
    history.push(`metric ${value}`);
    return value >= 0.5;
  };
  const rollback = async (): Promise<void> => {
    state.weight = 0;
    step("rolled-back");
    await event(`Canary failed! Scaling down ${name}.${namespace}`, "Failed");
    state.phase = "Failed";
    state.failedChecks = 0;
    await hook("post-rollout", "Failed");
  };
  const begin = (): void => {
    Object.assign(state, { phase: "Progressing", applied: state.spec, weight: 0, failedChecks: 0 });
    step("started");
  };
  const start = async (): Promise<void> => {
    if (!(await hook("confirm-rollout"))) {
      state.phase = "Waiting";
      await event(`Halt ${name}.${namespace} advancement waiting for approval go`);
      return;
    }
    await event("Confirm-rollout check go passed");
    await event(`New revision detected! Scaling up ${name}.${namespace}`, "Progressing");
    begin();
  };
  /** A new revision during an analysis starts again at weight 0, without confirm-rollout. */
  const restart = async (): Promise<void> => {
    step("superseded");
    await event(`New revision detected! Restarting analysis for ${name}.${namespace}`);
    begin();
  };
  const failCheck = (): void => {
    state.failedChecks += 1;
  };

  const finish = async (): Promise<void> => {
    if (state.phase === "Promoting") {
      await event("Routing all traffic to primary");
      Object.assign(state, { phase: "Finalising", weight: 0 });
      step("finished");
      return;
    }
    state.phase = "Succeeded";
    await hook("post-rollout", "Succeeded");
    await event(`Promotion completed! Scaling down ${name}.${namespace}`);
  };
  const analyze = async (): Promise<void> => {
    if (state.phase === "Promoting" || state.phase === "Finalising") return finish();
    if (state.spec !== state.applied) return restart();
    if (await hook("rollback")) {
      await event(`Rolling back ${name}.${namespace} manual webhook invoked`);
      return rollback();
    }
    if (state.failedChecks >= threshold) return rollback();
    if (state.weight === 0) {
      await event(`Starting canary analysis for ${name}.${namespace}`);
      if (!(await hook("pre-rollout"))) return failCheck();
    } else if (!(await hook("rollout")) || !(await metricPasses())) return failCheck();
    if (state.phase === "Progressing" && state.weight < maxWeight && !(await hook("confirm-traffic-increase"))) return;
    if (state.weight < maxWeight) {
      state.weight = steps.find((weight) => weight > state.weight)!;
      step("widened");
      return event(`Advance ${name}.${namespace} canary weight ${state.weight}`);
    }
    if (!(await hook("confirm-promotion"))) {
      state.phase = "WaitingPromotion";
      return;
    }
    await event(`Copying ${name}.${namespace} template spec to ${name}-primary.${namespace}`);
    state.phase = "Promoting";
    step("promoted");
  };

  const isIdle = (): boolean => ["Initialized", "Waiting", "Succeeded", "Failed"].includes(state.phase);

  return {
    get phase() {
      return state.phase;
    },
    get weight() {
      return state.weight;
    },
    get failedChecks() {
      return state.failedChecks;
    },
    history,
    deploy: (revision) => {
      state.spec = revision;
    },
    revert() {
      if (!isIdle() || state.spec === state.applied) return false;
      const reverted = state.spec;
      state.spec = state.applied;
      step("rolled-back", reverted);
      return true;
    },
    async tick() {
      if (!isIdle()) return analyze();
      if (state.spec !== state.applied) return start();
    },
  };
}
