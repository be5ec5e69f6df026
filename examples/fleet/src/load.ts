/** Users: requests at random moments (a Poisson process) to the VIP, with the User-Agent of a browser. */

import { Agent, request } from "node:http";
import { seededRandom, seedOf } from "@aviary/shared/testing/random.ts";
import { exponential } from "./distributions.ts";
import { WORK_PATH } from "./gateway.ts";
import type { FleetPlan } from "./layout.ts";

export interface LoadFigures {
  readonly sent: number;
  readonly answered: number;
  readonly errors5xx: number;
  /** Requests that got no answer at all. */
  readonly broken: number;
}

/** A user gives up after this time. */
const TIMEOUT_MS = 20_000;
/** Users who wait at the same time; beyond it new ones are not sent, so that a hanging fleet does not eat this process. */
const MAX_WAITING = 500;
const BROWSER =
  "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.3 Safari/605.1.15";
const BODY = JSON.stringify({
  model: "openclaw/default",
  messages: [{ role: "user", content: "What changed in the last release?" }],
});

/** Starts sending. @returns what was sent so far, and a way to stop. */
export function startLoad(plan: Pick<FleetPlan, "host" | "vipPort" | "seed" | "requestsPerSecond">): {
  figures(): LoadFigures;
  stop(): void;
} {
  const random = seededRandom(seedOf("load", plan.seed));
  const agent = new Agent({ keepAlive: true, maxSockets: MAX_WAITING });
  const figures = { sent: 0, answered: 0, errors5xx: 0, broken: 0 };
  let waiting = 0;
  let timer: NodeJS.Timeout | undefined;

  const send = (): void => {
    if (waiting >= MAX_WAITING) return;
    waiting += 1;
    figures.sent += 1;
    let done = false;
    const finish = (change: () => void): void => {
      if (done) return;
      done = true;
      waiting -= 1;
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
      (answer) => {
        answer.resume();
        answer.once("close", () =>
          finish(() => {
            figures.answered += 1;
            if ((answer.statusCode ?? 0) >= 500) figures.errors5xx += 1;
          }),
        );
      },
    );
    sent.once("timeout", () => sent.destroy(new Error("timeout")));
    sent.once("error", () =>
      finish(() => {
        figures.broken += 1;
      }),
    );
    sent.end(BODY);
  };

  // Arrivals are planned on a time line of their own: a late timer is followed by a burst, so the rate is kept.
  let next = performance.now();
  const arrive = (): void => {
    const now = performance.now();
    // After a pause of the whole machine nobody catches up on minutes of requests.
    if (now - next > 2_000) next = now;
    while (next <= now) {
      send();
      next += exponential(random, 1000 / plan.requestsPerSecond);
    }
    timer = setTimeout(arrive, next - now);
  };
  arrive();
  return {
    figures: () => ({ ...figures }),
    stop: () => {
      clearTimeout(timer);
      agent.destroy();
    },
  };
}
