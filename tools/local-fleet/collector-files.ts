/** A collector's configuration in the local fleet: the template filled in for one gateway, and the shared fragments. */
import { cpSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { laneKey } from "../../examples/fleet/src/lane.ts";
import { type FleetGateway, type FleetPlan, paths, writeFileAtomically } from "../../examples/fleet/src/layout.ts";

/** Writes `collector.yaml` and `conf.d/` of one gateway. */
export function writeCollectorFiles(plan: FleetPlan, gateway: FleetGateway): void {
  const { name } = gateway;
  const template = fileURLToPath(new URL("../../examples/fleet/config/collector.template.yaml", import.meta.url));
  const text = fill(readFileSync(template, "utf8"), template, {
    az: gateway.az,
    fleet: plan.fleet,
    gateway: name,
    slice: gateway.slice,
    gatewayUrl: `http://${plan.host}:${gateway.port}`,
    proxyUrl: `http://${plan.host}:${gateway.proxyPort}`,
    accessLog: paths.accessLog(plan, name),
    accessLogFormat: plan.proxy === "caddy" ? "caddy" : "jsonl",
    skills: paths.skills(plan, name),
    state: paths.state(plan, name),
    statfs: paths.statfs(plan, name),
    rollout: paths.rollout(plan),
  });
  writeFileAtomically(paths.collectorConfig(plan, name), text + extraProbes(plan, gateway));
  mkdirSync(paths.state(plan, name), { recursive: true });
  mkdirSync(paths.collectorData(plan, name), { recursive: true });
  rmSync(paths.fragments(plan, name), { recursive: true, force: true });
  cpSync(plan.fragments, paths.fragments(plan, name), { recursive: true });
}

/**
 * Only with Redis: the lane's depth and the dependency on it. The lane is read by the collectors of its zone's canary gateways.
 */
function extraProbes(plan: FleetPlan, gateway: FleetGateway): string {
  if (plan.redisPort === undefined) return "";
  const address = `${plan.host}:${plan.redisPort}`;
  const lines = [`  deps: { period: 5s, timeout: 4s, answerTimeout: 1s, targets: { redis: "tcp://${address}" } }`];
  if (gateway.slice === "canary" && gateway.az === plan.laneAz) {
    const lane = `{ redis: "redis://${address}", list: "${laneKey(plan.lane)}" }`;
    lines.push(`  queue: { period: 2s, timeout: 1500ms, lanes: { ${plan.lane}: ${lane} } }`);
  }
  return `${lines.join("\n")}\n`;
}

function fill(template: string, file: string, values: Readonly<Record<string, string>>): string {
  return template.replace(/^(?!#).*$/gm, (line) =>
    line.replace(/\$\{(\w+)\}/g, (whole, key: string) => {
      const value = values[key];
      if (value === undefined) throw new Error(`${file} contains ${whole}; known are ${Object.keys(values).join(", ")}`);
      return value;
    }),
  );
}
