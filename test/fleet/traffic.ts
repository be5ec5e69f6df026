/** User traffic of exactly known volume: lines in the access logs, without actual requests. */
import { openAccessLog } from "../../examples/fleet/src/access-log.ts";
import { type FleetPlan, paths } from "../../examples/fleet/src/layout.ts";

export interface Traffic {
  /** Requests written so far, by gateway. */
  readonly requests: ReadonlyMap<string, number>;
  /** Share of a slice's requests that fail from now on. */
  fail(slice: "canary" | "stable", ratio: number): void;
  stop(): void;
}

const EVERY_MS = 100;
const AT_ONCE = 10;

/** Writes a hundred requests per second to the access log of every gateway until stopped. */
export function startTraffic(plan: FleetPlan): Traffic {
  const logs = plan.gateways.map((gateway) => ({ gateway, log: openAccessLog(paths.accessLog(plan, gateway.name)) }));
  const requests = new Map(plan.gateways.map(({ name }) => [name, 0]));
  const errorRatio = { canary: 0, stable: 0 };
  let stopped = false;
  const write = (): void => {
    for (const { gateway, log } of logs) {
      for (let index = 0; index < AT_ONCE; index++) {
        const status = index < errorRatio[gateway.slice] * AT_ONCE ? 500 : 200;
        log.write({
          ts: new Date().toISOString(),
          status,
          duration_ms: 20 + index,
          method: "POST",
          uri: "/v1/chat/completions",
          host: "canary.example",
          user_agent: "user",
          content_type: "application/json",
          complete: true,
        });
      }
      requests.set(gateway.name, (requests.get(gateway.name) ?? 0) + AT_ONCE);
    }
  };
  const timer = setInterval(write, EVERY_MS);
  return {
    requests,
    fail: (slice, ratio) => {
      errorRatio[slice] = ratio;
    },
    stop: () => {
      if (stopped) return;
      stopped = true;
      clearInterval(timer);
      for (const { log } of logs) log.close();
    },
  };
}
