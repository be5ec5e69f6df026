/** The proxies: real requests through the built-in one and through a real Caddy, and what their access logs say of them. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import fc from "fast-check";
import { caddyConfig, findCaddy } from "../src/caddy.ts";
import { changeGateway } from "../src/control.ts";
import { setWeight } from "../src/faults.ts";
import { startGatewayOf, WORK_PATH } from "../src/gateway.ts";
import { type FleetPlan, places } from "../src/layout.ts";
import { startLoad } from "../src/load.ts";
import { startProxy } from "../src/proxy.ts";
import { pick, sharesAt } from "../src/shares.ts";
import { testPlan, until } from "./plan.ts";

const caddy = findCaddy();
const needed = (): { skip?: string } => {
  if (caddy !== undefined) return {};
  if (process.env.CI) throw new Error("caddy is not installed, and with CI set nothing is skipped");
  return { skip: "caddy is not installed" };
};

const lines = (plan: FleetPlan, name: string): Record<string, unknown>[] => {
  const path = places.accessLog(plan, name);
  if (!existsSync(path)) return [];
  const whole = readFileSync(path, "utf8").split("\n").slice(0, -1);
  return whole.map((line) => JSON.parse(line) as Record<string, unknown>);
};

describe("shares of requests", () => {
  it("give the canary slice exactly its weight, for every weight and every size of the slices", () => {
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

  it("are kept by the picking of a gateway", () => {
    const plan = {
      gateways: ["canary", "stable"].map((slice) => ({ name: slice, az: "a", slice, tier: "1TB", port: 1, proxyPort: 2 })),
    };
    const shares = sharesAt(plan.gateways as FleetPlan["gateways"], 25);
    const names = [0, 0.2, 0.25, 0.5, 0.999999].map((uniform) => pick(shares, uniform).name);
    assert.deepEqual(names, ["canary", "canary", "stable", "stable", "stable"]);
  });
});

describe("caddy's configuration", () => {
  it("names each gateway as often as its share says where weights are unknown, and once where they are known", async () => {
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
  describe(`proxy: ${kind}`, kind === "caddy" ? needed() : {}, () => {
    it("spreads users by weight and records each request at its gateway", async () => {
      using plan = await testPlan({ requestsPerSecond: 200, proxy: kind });
      setWeight(plan, 0);
      const gateways = await Promise.all(plan.gateways.map((gateway) => startGatewayOf(plan, gateway.name)));
      const proxy = await startProxy(plan, () => assert.fail("caddy ended"));
      const load = startLoad(plan);
      const countOf = (slice: "canary" | "stable"): number =>
        plan.gateways
          .filter((gateway) => gateway.slice === slice)
          .reduce((sum, gateway) => sum + lines(plan, gateway.name).length, 0);
      try {
        await until("100 requests on stable", () => countOf("stable") > 100);
        assert.equal(countOf("canary"), 0, "weight 0 sends nobody to the canary slice");

        setWeight(plan, 100);
        await until("100 requests on the canary slice", () => countOf("canary") > 100);
        // What was on its way when the weight changed may still arrive.
        await until("stable is quiet", async () => {
          const before = countOf("stable");
          await new Promise((resolve) => setTimeout(resolve, 300));
          return countOf("stable") === before;
        });

        changeGateway(plan, "mac-a1", { errorRatio: 1 });
        await until("a 500 in the access log", () => lines(plan, "mac-a1").some((line) => line.status === 500));
        await gateways[plan.gateways.findIndex((gateway) => gateway.name === "mac-b1")]?.stop();
        await until("a 502 in the access log of a dead gateway", () => lines(plan, "mac-b1").some((line) => line.status === 502));
        const line = lines(plan, "mac-c1")[0] ?? {};
        assert.ok("ts" in line && "status" in line);
        assert.match(JSON.stringify(line), /Mozilla\/5\.0/);
        assert.match(JSON.stringify(line), new RegExp(WORK_PATH));
        assert.ok(load.figures().answered > 200);
      } finally {
        load.stop();
        await proxy.stop();
        await Promise.all(gateways.map((gateway) => gateway.stop()));
      }
    });
  });
}
