/**
 * The files of a small fleet for tests: fleet file, policy, periods, and each collector's configuration. JSON is YAML, so they
 * are written as JSON.
 */
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { PolicyFile } from "@aviary/shared/contract/policy.ts";

export const CANARY = { namespace: "prod", name: "payments-gateway" };
export const CANARY_KEY = "prod/payments-gateway";

/**
 * Windows of 2.5 s with five sub-windows of half a second. Latency and errors of the test machine are not the subject of
 * scenarios.
 */
export const SHORT_POLICY: PolicyFile = {
  mode: "literal",
  window: "2500ms",
  grace: "1s",
  warmup: "500ms",
  settleRelease: "0s",
  thresholds: { max5xxRate: 0.02, maxP99: "5s", maxP99RegressionRatio: 20, maxQueueDepth: 30 },
  doctorBeforeTraffic: false,
};

const PERIODS = {
  probes: {
    "access-log": { period: "500ms", timeout: "450ms" },
    "gateway-probes": { period: "1s", timeout: "900ms", answerTimeout: "400ms", warmup: "100ms" },
    skills: { period: "1s", timeout: "900ms" },
    disk: { period: "1s", timeout: "900ms" },
    process: { period: "2s", timeout: "1s" },
    rollout: { period: "2s", timeout: "1s" },
  },
};

export interface FleetFiles {
  readonly fleetFile: string;
  readonly fragments: string;
}

/** Canary gateways and one stable gateway, mac-a2, in az-a, and a controller that opens runs. */
export function writeFleetFiles(directory: string, policy: PolicyFile, canaryGateways: readonly string[]): FleetFiles {
  const config = join(directory, "fleet");
  const fragments = join(config, "conf.d");
  mkdirSync(fragments, { recursive: true });
  const write = (name: string, value: unknown): void => writeFileSync(join(config, name), `${JSON.stringify(value, null, 2)}\n`);
  write("aviary.yaml", {
    fleets: {
      payments: {
        gateways: [
          ...canaryGateways.map((name) => ({ name, az: "az-a", slice: "canary", tier: "2TB" })),
          { name: "mac-a2", az: "az-a", slice: "stable", tier: "2TB" },
        ],
      },
    },
    canaries: { [CANARY_KEY]: { fleet: "payments", policy: "policy.yaml", callers: { flagger: { interval: "5s" } } } },
  });
  write("policy.yaml", policy);
  write("conf.d/10-periods.yaml", PERIODS);
  // The settings that differ between gateways are the same as in the example fleet.
  copyFileSync(
    fileURLToPath(new URL("../../examples/fleet/config/collector.template.yaml", import.meta.url)),
    join(config, "collector.yaml"),
  );
  return { fleetFile: join(config, "aviary.yaml"), fragments };
}
