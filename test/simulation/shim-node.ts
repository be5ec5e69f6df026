/** The shim without its HTTP server: the real view, control writer and routes, called as the server would call them. */
import type { CallerClass, FleetFile } from "@aviary/shared/contract/fleet.ts";
import type { Policy } from "@aviary/shared/contract/policy.ts";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import { silentLogger } from "@aviary/shared/runtime/logger.ts";
import type { Call, Route, ShimContext } from "../../services/shim/src/route.ts";
import type { History, Sample } from "./history.ts";
import { type Kernel, type Life, START_MS } from "./kernel.ts";
import type { createNodeBus } from "./network.ts";
import type { Product } from "./product.ts";

export const CANARY = { namespace: "prod", name: "payments-gateway" };
export const CANARY_KEY = "prod/payments-gateway";
/** Listed independently of the product, so that a gate missing there is detected. */
export const GATES = [
  "confirm-rollout",
  "pre-rollout",
  "rollout",
  "confirm-traffic-increase",
  "confirm-promotion",
  "rollback",
  "post-rollout",
] as const;

export interface ShimResponse {
  readonly status: number;
  readonly body: string;
}

export interface ShimNode {
  /** Calls one route; undefined until the shim is listening. */
  request(caller: CallerClass, path: string, query: string, body: string): Promise<ShimResponse | undefined>;
  /** All its answers about the canary now; undefined until it is listening. */
  sample(): Promise<Sample | undefined>;
  close(): Promise<void>;
}

export interface ShimNodeOptions {
  readonly product: Product;
  readonly kernel: Kernel;
  readonly life: Life;
  readonly clock: Clock;
  readonly bus: ReturnType<typeof createNodeBus>;
  readonly fleet: FleetFile;
  readonly policies: ReadonlyMap<string, Policy>;
  readonly lane: string | undefined;
  readonly history: History;
  /** It failed to start; its supervisor starts another one. */
  readonly onFatal: (error: unknown) => void;
}

export function startShimNode(options: ShimNodeOptions): ShimNode {
  const { product, kernel, life, clock, bus, fleet, policies } = options;
  const routes = new Map<string, Route>(
    [...product.FLAGGER_ROUTES, ...product.ROLLOUTS_ROUTES, ...product.KEDA_ROUTES].map((route) => [route.path, route]),
  );
  let context: ShimContext | undefined;
  product.followView({ bus, fleet, policies, clock, logger: silentLogger }).then((view) => {
    const controlWriter = product.createControlWriter(bus, clock, silentLogger);
    const startedAtMs = clock.monotonicMs();
    context = { bus, fleet, view, controlWriter, roles: product.createCallerRoles(), clock, startedAtMs, logger: silentLogger };
  }, options.onFatal);

  const request: ShimNode["request"] = async (caller, path, query, body) => {
    const route = routes.get(path);
    if (route === undefined) throw new RangeError(`the shim has no route ${path}`);
    if (context === undefined) return undefined;
    const call = {
      caller: { tokenId: "00000000", id: caller, class: caller, namespaces: null },
      method: body === "" ? "GET" : "POST",
      query: new URLSearchParams(query),
      body,
      callerNow: () => undefined,
      params: [],
      request: { headers: { host: "shim.example" } },
      response: undefined,
    } as unknown as Call;
    const handled = await route.handle(call, context);
    if (handled === undefined || !("status" in handled)) throw new TypeError(`${path} returned no reply`);
    return { status: handled.status, body: handled.body.toString() };
  };

  return {
    request,
    async sample() {
      if (context === undefined) return undefined;
      const atMs = START_MS + kernel.nowMs;
      const identity = `namespace=${CANARY.namespace}&canary=${CANARY.name}`;
      const query = `query=${encodeURIComponent(`aviary_verdict{namespace="${CANARY.namespace}",canary="${CANARY.name}"}`)}`;
      const hook = JSON.stringify({ ...CANARY, phase: "Progressing", checksum: "" });
      const json: Record<string, string> = {};
      const prometheus: Record<string, string> = {};
      const gates: Record<string, { allowed: boolean; text: string }> = {};
      const text = async (path: string, parameters: string): Promise<string> =>
        (await request("operator", path, parameters, ""))?.body ?? "";
      for (const path of ["/rollouts/analysis", "/flagger/metrics", "/rollouts/analysis/errors"])
        json[path] = await text(path, identity);
      if (options.lane !== undefined) json["/keda/metrics"] = await text("/keda/metrics", `lane=${options.lane}`);
      for (const dialect of ["flagger", "rollouts", "keda"])
        prometheus[dialect] = /"value":\[\d+,"([^"]*)"\]/.exec(await text(`/${dialect}/api/v1/query`, query))?.[1] ?? "";
      for (const gate of GATES) {
        const answer = await request("operator", `/flagger/gate/${gate}`, "", hook);
        gates[gate] = { allowed: answer?.status === 200, text: answer?.body ?? "" };
      }
      return { atMs, wallOffsetMs: life.wallOffsetMs(), json, prometheus, gates };
    },
    close: async () => {
      await context?.view[Symbol.asyncDispose]();
    },
  };
}
