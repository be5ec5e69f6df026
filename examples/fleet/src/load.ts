/** Simulated users: Poisson arrivals of requests to the VIP, with a browser's User-Agent. */

import { Agent, request } from "node:http";
import { seededRandom, seedOf } from "@aviary/shared/testing/random.ts";
import { exponential } from "./distributions.ts";
import { WORK_PATH } from "./gateway.ts";
import type { FleetPlan } from "./layout.ts";

export interface LoadStats {
  readonly sent: number;
  readonly answered: number;
  readonly errors5xx: number;
  /** Requests without any response. */
  readonly failed: number;
}

/** A request without a response is aborted after this time. */
const TIMEOUT_MS = 20_000;
/** Concurrent requests. Beyond it no request is sent, so that a hanging fleet does not exhaust this process. */
const MAX_IN_FLIGHT = 500;
const BROWSER =
  "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.3 Safari/605.1.15";
const BODY = JSON.stringify({
  model: "openclaw/default",
  messages: [{ role: "user", content: "What changed in the last release?" }],
});

/** Starts sending requests. */
export function startLoad(plan: Pick<FleetPlan, "host" | "vipPort" | "seed" | "requestsPerSecond">): {
  stats(): LoadStats;
  stop(): void;
} {
  const random = seededRandom(seedOf("load", plan.seed));
  const agent = new Agent({ keepAlive: true, maxSockets: MAX_IN_FLIGHT });
  const stats = { sent: 0, answered: 0, errors5xx: 0, failed: 0 };
  let inFlight = 0;
  let timer: NodeJS.Timeout | undefined;

  const send = (): void => {
    if (inFlight >= MAX_IN_FLIGHT) return;
    inFlight += 1;
    stats.sent += 1;
    let done = false;
    const finish = (change: () => void): void => {
      if (done) return;
      done = true;
      inFlight -= 1;
      change();
    };
    const sent = request(
      {
        host: plan.host,
        port: plan.vipPort,
        agent,
        method: "POST",
        path: WORK_PATH,
        headers: { "user-agent": BROWSER, "content-type": "application/json", "content-length": Buffer.byteLength(BODY) },
        timeout: TIMEOUT_MS,
      },
      (response) => {
        response.resume();
        response.once("close", () =>
          finish(() => {
            stats.answered += 1;
            if ((response.statusCode ?? 0) >= 500) stats.errors5xx += 1;
          }),
        );
      },
    );
    sent.once("timeout", () => sent.destroy(new Error("timeout")));
    sent.once("error", () =>
      finish(() => {
        stats.failed += 1;
      }),
    );
    sent.end(BODY);
  };

  // Arrival times do not depend on timers: a late timer is followed by a burst, so the mean rate is exact.
  let nextAtMs = performance.now();
  const arrive = (): void => {
    const nowMs = performance.now();
    // After the machine slept, missed arrivals are skipped.
    if (nowMs - nextAtMs > 2_000) nextAtMs = nowMs;
    while (nextAtMs <= nowMs) {
      send();
      nextAtMs += exponential(random, 1000 / plan.requestsPerSecond);
    }
    timer = setTimeout(arrive, nextAtMs - nowMs);
  };
  arrive();
  return {
    stats: () => ({ ...stats }),
    stop: () => {
      clearTimeout(timer);
      agent.destroy();
    },
  };
}
