/** Both proxies under real requests: the built-in one and a real Caddy, and their access logs. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createServer, request, type ServerResponse } from "node:http";
import { describe, it } from "node:test";
import { until } from "@aviary/shared/testing/until.ts";
import fc from "fast-check";
import { caddyConfig, findCaddy } from "../src/caddy.ts";
import { changeGateway } from "../src/desired-state.ts";
import { setWeight } from "../src/faults.ts";
import { startGatewayOf, WORK_PATH } from "../src/gateway.ts";
import { type FleetPlan, paths } from "../src/layout.ts";
import { startLoad } from "../src/load.ts";
import { startProxy } from "../src/proxy.ts";
import { pick, sharesAt } from "../src/shares.ts";
import { testPlan } from "./plan.ts";

const caddy = findCaddy();
const skipWithoutCaddy = (): { skip?: string } => {
  if (caddy !== undefined) return {};
  if (process.env.CI) throw new Error("caddy is not installed, and CI must not skip its tests: install caddy");
  return { skip: "caddy is not installed" };
};

const lines = (plan: FleetPlan, name: string): Record<string, unknown>[] => {
  const path = paths.accessLog(plan, name);
  if (!existsSync(path)) return [];
  const whole = readFileSync(path, "utf8").split("\n").slice(0, -1);
  return whole.map((line) => JSON.parse(line) as Record<string, unknown>);
};

describe("shares of requests", () => {
  it("give the canary slice exactly its weight, for every weight and slice size", () => {
    const gateways = (slice: "canary" | "stable", count: number) =>
      Array.from({ length: count }, (_, index) => ({
        name: `${slice}-${index}`,
        az: "az-a",
        slice,
        tier: "1TB" as const,
        port: 1,
        proxyPort: 2,
      }));
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 100 }),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 5 }),
        (weight, canaries, stables) => {
          const shares = sharesAt([...gateways("canary", canaries), ...gateways("stable", stables)], weight);
          const total = shares.reduce((sum, share) => sum + share.parts, 0);
          const canary = shares.filter((share) => share.gateway.slice === "canary").reduce((sum, share) => sum + share.parts, 0);
          assert.equal(canary * 100, weight * total);
          assert.ok(shares.every((share) => Number.isInteger(share.parts) && share.parts > 0));
        },
      ),
    );
  });

  it("determine which gateway a uniform random number picks", () => {
    const plan = {
      gateways: ["canary", "stable"].map((slice) => ({ name: slice, az: "a", slice, tier: "1TB", port: 1, proxyPort: 2 })),
    };
    const shares = sharesAt(plan.gateways as FleetPlan["gateways"], 25);
    const names = [0, 0.2, 0.25, 0.5, 0.999999].map((uniform) => pick(shares, uniform).name);
    assert.deepEqual(names, ["canary", "canary", "stable", "stable", "stable"]);
  });
});

describe("the Caddy configuration", () => {
  it("repeats each gateway by its share if Caddy lacks weights, and lists it once otherwise", async () => {
    using plan = await testPlan();
    const upstreams = (weighted: boolean): readonly unknown[] => {
      const config = caddyConfig(plan, 10, weighted) as {
        apps: { http: { servers: { vip: { routes: [{ handle: [{ upstreams: unknown[] }] }] } } } };
      };
      return config.apps.http.servers.vip.routes[0].handle[0].upstreams;
    };
    assert.equal(upstreams(false).length, 30);
    assert.equal(upstreams(true).length, 6);
  });
});

for (const kind of ["built-in", "caddy"] as const) {
  describe(`proxy: ${kind}`, kind === "caddy" ? skipWithoutCaddy() : {}, () => {
    it("splits user requests by weight and logs each request for its gateway", async () => {
      using plan = await testPlan({ requestsPerSecond: 200, proxy: kind });
      setWeight(plan, 0);
      const gateways = await Promise.all(plan.gateways.map((gateway) => startGatewayOf(plan, gateway.name)));
      const proxy = await startProxy(plan, () => assert.fail("caddy exited"));
      const load = startLoad(plan);
      const countOf = (slice: "canary" | "stable"): number =>
        plan.gateways
          .filter((gateway) => gateway.slice === slice)
          .reduce((sum, gateway) => sum + lines(plan, gateway.name).length, 0);
      try {
        await until("stable has served 100 requests", () => countOf("stable") > 100);
        assert.equal(countOf("canary"), 0, "weight 0 sends no request to the canary slice");

        setWeight(plan, 100);
        await until("the canary slice has served 100 requests", () => countOf("canary") > 100);
        // Requests in flight when the weight changed may still reach stable, and restart the count.
        let lastStable = { stable: countOf("stable"), canary: countOf("canary") };
        await until("100 requests in a row reach the canary slice", () => {
          const counts = { stable: countOf("stable"), canary: countOf("canary") };
          if (counts.stable !== lastStable.stable) lastStable = counts;
          return counts.canary - lastStable.canary >= 100;
        });

        changeGateway(plan, "mac-a1", { errorRatio: 1 });
        await until("the access log records a 500", () => lines(plan, "mac-a1").some((line) => line.status === 500));
        await gateways[plan.gateways.findIndex((gateway) => gateway.name === "mac-b1")]?.stop();
        await until("the access log of a stopped gateway records a 502", () =>
          lines(plan, "mac-b1").some((line) => line.status === 502),
        );
        const line = lines(plan, "mac-c1")[0] ?? {};
        assert.ok("ts" in line && "status" in line);
        assert.match(JSON.stringify(line), /Mozilla\/5\.0/);
        assert.match(JSON.stringify(line), new RegExp(WORK_PATH));
        assert.ok(load.stats().answered > 200);
      } finally {
        load.stop();
        await proxy.stop();
        await Promise.all(gateways.map((gateway) => gateway.stop()));
      }
    });
  });
}

describe("the log of the built-in proxy", () => {
  it("shows a cut-off answer, an event stream, and a client that disconnected", async () => {
    using plan = await testPlan({ proxy: "built-in" });
    const answers: Readonly<Record<string, (response: ServerResponse) => void>> = {
      "/dies": (response) => {
        response.writeHead(200, { "content-length": "1000" }).write("half");
        setTimeout(() => response.destroy(), 20);
      },
      "/events": (response) => response.writeHead(200, { "content-type": "text/event-stream" }).end("data: 1\n\n"),
      "/slow": (response) => response.writeHead(200).write("and so on"),
    };
    const [gateway] = plan.gateways;
    assert.ok(gateway !== undefined);
    const server = createServer((incoming, response) => answers[incoming.url ?? ""]?.(response)).listen(gateway.port, plan.host);
    const proxy = await startProxy(plan, () => {});
    const send = async (path: string): Promise<void> => {
      const sent = request(`http://${plan.host}:${gateway.proxyPort}${path}`, { agent: false });
      const closed = new Promise((resolve) => sent.once("close", resolve));
      sent.once("error", () => {});
      sent.once("response", (response) => {
        response.once("error", () => {}).resume();
        if (path === "/slow") response.once("data", () => sent.destroy());
      });
      sent.end();
      await closed;
    };
    try {
      for (const path of Object.keys(answers)) await send(path);
      await until("every request was logged", () => lines(plan, gateway.name).length === 3);
      assert.deepEqual(
        lines(plan, gateway.name).map(({ uri, status, complete, content_type }) => [uri, status, complete, content_type]),
        [
          ["/dies", 200, false, ""],
          ["/events", 200, true, "text/event-stream"],
          ["/slow", 499, true, ""],
        ],
      );
    } finally {
      await proxy.stop();
      server.closeAllConnections();
      server.close();
    }
  });
});
