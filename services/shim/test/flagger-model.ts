/**
 * A model of Flagger 1.44 (pkg/controller/scheduler.go and scheduler_hooks.go) for one weighted canary: the requests of one
 * analysis interval in order, and how it reacts to their responses. The caller controls time: `tick` is one analysis interval.
 */
import { TOKENS } from "./harness.ts";

export type Phase =
  | "Initialized"
  | "Waiting"
  | "Progressing"
  | "WaitingPromotion"
  | "Promoting"
  | "Finalising"
  | "Succeeded"
  | "Failed";

export interface FlaggerOptions {
  readonly url: string;
  readonly namespace: string;
  readonly name: string;
  /** Whether the hooks carry the revision in their metadata. */
  readonly metadata: boolean;
  readonly stepWeight: number;
  readonly maxWeight: number;
  readonly threshold: number;
  /** Time of events, milliseconds since the epoch. */
  readonly now: () => number;
}

export interface Flagger {
  readonly phase: Phase;
  readonly weight: number;
  readonly failedChecks: number;
  /** Requests with their responses, one line each. */
  readonly history: readonly string[];
  /** The target's spec changed. */
  deploy(revision: string): void;
  tick(): Promise<void>;
}

export function createFlagger(options: FlaggerOptions): Flagger {
  const { url, namespace, name, stepWeight, maxWeight, threshold } = options;
  const state = { phase: "Initialized" as Phase, weight: 0, failedChecks: 0, spec: "v1", applied: "v1" };
  const history: string[] = [];
  let eventTime = 0;

  const post = async (path: string, phase: Phase, more: Record<string, string>): Promise<number> => {
    const metadata = { ...(options.metadata ? { version: state.spec } : {}), ...more };
    const body = {
      name,
      namespace,
      phase,
      checksum: `sum-of-${state.applied}`,
      ...(Object.keys(metadata).length > 0 ? { metadata } : {}),
    };
    const response = await fetch(url + path, {
      method: "POST",
      // Userinfo of the webhook's URL becomes Basic.
      headers: { "content-type": "application/json", authorization: `Basic ${btoa(`flagger:${TOKENS.flagger}`)}` },
      body: JSON.stringify(body),
    });
    const text = (await response.text()).trim();
    history.push(`${path} ${response.status} ${text}`);
    return response.status;
  };
  const hook = async (gate: string, phase: Phase = state.phase): Promise<boolean> =>
    (await post(`/flagger/gate/${gate}`, phase, {})) <= 202;
  const event = async (message: string, phase: Phase = state.phase): Promise<void> => {
    eventTime = Math.max(eventTime + 1, options.now());
    await post("/flagger/events", phase, { eventMessage: message, eventType: "Normal", timestamp: String(eventTime) });
  };
  const metricPasses = async (): Promise<boolean> => {
    const query = encodeURIComponent(`aviary_verdict{namespace="${namespace}",canary="${name}"}`);
    const response = await fetch(`${url}/flagger/api/v1/query?query=${query}`, {
      headers: { authorization: `Bearer ${TOKENS.flagger}` },
    });
    const { data } = (await response.json()) as { data: { result: { value: [number, string] }[] } };
    const value = Number(data.result.at(-1)?.value[1]);
    history.push(`metric ${value}`);
    return value >= 0.5;
  };
  const rollback = async (): Promise<void> => {
    state.weight = 0;
    await event(`Canary failed! Scaling down ${name}.${namespace}`, "Failed");
    state.phase = "Failed";
    state.applied = state.spec;
    state.failedChecks = 0;
    await hook("post-rollout", "Failed");
  };
  const start = async (): Promise<void> => {
    if (!(await hook("confirm-rollout"))) {
      state.phase = "Waiting";
      await event(`Halt ${name}.${namespace} advancement waiting for approval go`);
      return;
    }
    await event("Confirm-rollout check go passed");
    await event(`New revision detected! Scaling up ${name}.${namespace}`, "Progressing");
    Object.assign(state, { phase: "Progressing", applied: state.spec, weight: 0, failedChecks: 0 });
  };
  const failCheck = (): void => {
    state.failedChecks += 1;
  };

  const analyze = async (): Promise<void> => {
    if (state.phase === "Progressing" || state.phase === "WaitingPromotion") {
      if (await hook("rollback")) {
        await event(`Rolling back ${name}.${namespace} manual webhook invoked`);
        return rollback();
      }
      if (state.failedChecks >= threshold) return rollback();
    }
    if (state.phase === "Promoting") {
      await event("Routing all traffic to primary");
      Object.assign(state, { phase: "Finalising", weight: 0 });
      return;
    }
    if (state.phase === "Finalising") {
      state.phase = "Succeeded";
      await hook("post-rollout", "Succeeded");
      return event(`Promotion completed! Scaling down ${name}.${namespace}`);
    }
    if (state.weight === 0) {
      await event(`Starting canary analysis for ${name}.${namespace}`);
      if (!(await hook("pre-rollout"))) return failCheck();
    } else if (!(await hook("rollout")) || !(await metricPasses())) return failCheck();
    if (state.phase === "Progressing" && state.weight < maxWeight && !(await hook("confirm-traffic-increase"))) return;
    if (state.weight < maxWeight) {
      state.weight += stepWeight;
      return event(`Advance ${name}.${namespace} canary weight ${state.weight}`);
    }
    if (!(await hook("confirm-promotion"))) {
      state.phase = "WaitingPromotion";
      return;
    }
    await event(`Copying ${name}.${namespace} template spec to ${name}-primary.${namespace}`);
    state.phase = "Promoting";
  };

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
    async tick() {
      const idle =
        state.phase === "Initialized" || state.phase === "Waiting" || state.phase === "Succeeded" || state.phase === "Failed";
      if (!idle) return analyze();
      if (state.spec !== state.applied) return start();
    },
  };
}
