/** Calls the shim as Flagger does: gates and events with the bodies of Flagger 1.44, and as KEDA for a lane. */
import type { VerdictBody } from "@aviary/shared/contract/verdict.ts";
import type { FleetPlan } from "../../examples/fleet/src/layout.ts";
import type { LocalTokens } from "./tokens.ts";

export interface LaneAnswer {
  readonly scale: { readonly depth: number; readonly depth_true: number; readonly replicas: number; readonly allow: number };
}

export interface Controller {
  /** @returns the HTTP status: 200 continue (for `rollback`: roll back), 403 wait */
  gate(gate: string, revision: string, phase?: string): Promise<number>;
  /** @returns the HTTP status of the event webhook */
  event(message: string, revision: string, phase?: string): Promise<number>;
  verdict(): Promise<VerdictBody>;
  lane(lane: string): Promise<LaneAnswer>;
}

const ANSWER_WITHIN_MS = 10_000;

export function createFlaggerClient(plan: FleetPlan, tokens: LocalTokens): Controller {
  const shim = `http://${plan.host}:${plan.shimPort}`;
  const [namespace = "", name = ""] = plan.canary.split("/");
  const post = async (path: string, body: unknown): Promise<number> => {
    const answer = await fetch(shim + path, {
      method: "POST",
      // Flagger reads credentials from the webhook's URL and sends them as Basic.
      headers: { authorization: `Basic ${btoa(`flagger:${tokens.flagger}`)}`, "content-type": "application/json" },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    });
    await answer.arrayBuffer();
    return answer.status;
  };
  const get = async <T>(path: string): Promise<T> => {
    const answer = await fetch(shim + path, {
      headers: { authorization: `Bearer ${tokens.operator}` },
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    });
    const text = await answer.text();
    if (answer.status !== 200) throw new Error(`${path} returned ${answer.status}: ${text.slice(0, 200)}`);
    return JSON.parse(text) as T;
  };
  const hook = (revision: string, phase: string, metadata: Readonly<Record<string, string>> = {}) => ({
    name,
    namespace,
    phase,
    checksum: "",
    metadata: { revision, ...metadata },
  });
  return {
    gate: (gate, revision, phase = "Progressing") => post(`/flagger/gate/${gate}`, hook(revision, phase)),
    event: (eventMessage, revision, phase = "Progressing") =>
      post("/flagger/events", hook(revision, phase, { eventMessage, eventType: "Normal", timestamp: String(Date.now()) })),
    verdict: () => get<VerdictBody>("/flagger/metrics"),
    lane: (lane) => get<LaneAnswer>(`/keda/metrics?lane=${lane}`),
  };
}
