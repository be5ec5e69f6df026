/**
 * A fleet for scenarios: real NATS, and the real evaluator, shim and collectors as processes, with windows of a few seconds, in
 * its own directory.
 * Gateways are those of the example fleet, inside the test's process; the test writes the traffic, so every request is known.
 * Everything stops with the test, or with the test's process if that process is killed.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { connectNats, type NatsBus } from "@aviary/shared/bus/nats.ts";
import { type ControlContent, controlMessage } from "@aviary/shared/contract/control.ts";
import type { PolicyFile } from "@aviary/shared/contract/policy.ts";
import { controlSubject } from "@aviary/shared/contract/subjects.ts";
import type { VerdictRecord } from "@aviary/shared/contract/verdict.ts";
import { locateTestServer, requireServer } from "@aviary/shared/testing/servers.ts";
import { until } from "@aviary/shared/testing/until.ts";
import { HEALTHY_GATEWAY } from "../../examples/fleet/src/desired-state.ts";
import { release, resetFleet } from "../../examples/fleet/src/faults.ts";
import { startGateway, startGatewayOf } from "../../examples/fleet/src/gateway.ts";
import { type FleetPlan, paths, writeJson } from "../../examples/fleet/src/layout.ts";
import { makePlan } from "../../examples/fleet/src/make-plan.ts";
import { type Relay, startRelay } from "../../examples/fleet/src/relay.ts";
import { writeCollectorFiles } from "../../tools/local-fleet/collector-files.ts";
import { collectorSpec, evaluatorSpec, shimSpec } from "../../tools/local-fleet/compose.ts";
import { lastLines } from "../../tools/local-fleet/log-file.ts";
import { choosePorts } from "../../tools/local-fleet/ports.ts";
import { answers, applyLocalStreams, natsSpec } from "../../tools/local-fleet/servers.ts";
import { type ChildSpec, createSupervisor, type Supervisor } from "../../tools/local-fleet/supervisor.ts";
import { type LocalTokens, prepareTokens } from "../../tools/local-fleet/tokens.ts";
import { CANARY, SHORT_POLICY, writeFleetFiles } from "./files.ts";
import { formatVerdicts, publishedVerdicts, replayedVerdicts } from "./records.ts";

export type Part = "nats-server" | "evaluator" | "evaluator-2" | "shim" | "collector-mac-a1" | "collector-mac-a2";
export const COLLECTORS: readonly Part[] = ["collector-mac-a1", "collector-mac-a2"];

export interface TestFleet {
  readonly plan: FleetPlan;
  readonly tokens: LocalTokens;
  /** The test's own connection. */
  readonly bus: NatsBus;
  /** The relay between the collectors and the broker. */
  readonly relay: Relay;
  readonly shimUrl: string;
  start(...parts: Part[]): Promise<void>;
  /** Kills processes without warning. */
  kill(...parts: Part[]): Promise<void>;
  /** Stops processes gracefully, waits, and asserts that they exited cleanly. */
  stop(...parts: Part[]): Promise<void>;
  freeze(part: Part): void;
  thaw(part: Part): void;
  /** A metric of a part's operations listener; undefined while it has none. */
  metric(part: Part, name: string): Promise<number | undefined>;
  /** Publishes a control message of a controller or an operator. */
  publishControl(content: ControlContent): Promise<void>;
  /** Announces a revision and gives it traffic, as a controller does. */
  openRun(revision: string): Promise<void>;
  /**
   * Waits until the evaluator has published everything that a reduction of the log yields, and asserts that both are equal. The
   * log must not be written to meanwhile.
   * @returns the published verdicts
   */
  assertMatchesReplay(): Promise<VerdictRecord[]>;
  /** Asserts that no process exited on its own, and none reported a failure. */
  assertNoCrashes(): void;
}

export interface WorldOptions {
  readonly policy?: PolicyFile;
  /** Canary gateways in the fleet file instead of mac-a1; only that one and mac-a2 have a collector. */
  readonly canaryGateways?: readonly string[];
  /** Byte limits of spools, by gateway. */
  readonly spoolBytes?: Readonly<Record<string, string>>;
  readonly parts: readonly Part[];
}

/** Starts NATS, gateways and the named parts; undefined, with the test skipped, if there is no nats-server. */
export async function startTestFleet(test: TestContext, options: WorldOptions): Promise<TestFleet | undefined> {
  if (!requireServer(test, "nats")) return undefined;
  const parent = join(tmpdir(), "aviary-test-fleets");
  mkdirSync(parent, { recursive: true });
  const directory = mkdtempSync(join(parent, "fleet-"));
  const closing: (() => unknown)[] = [() => rmSync(directory, { recursive: true, force: true, maxRetries: 5 })];
  test.after(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });
  const plan = await planOf(directory, options);
  const tokens = prepareTokens(plan);
  resetFleet(plan, 10);
  release(plan, "canary", "2026.9.7");
  for (const gateway of plan.gateways.filter(({ name }) => COLLECTORS.includes(`collector-${name}` as Part))) {
    writeCollectorFiles(plan, gateway);
    const maxBytes = options.spoolBytes?.[gateway.name];
    if (maxBytes !== undefined) writeJson(join(paths.fragments(plan, gateway.name), "20-spool.yaml"), { spool: { maxBytes } });
    const real = await startGatewayOf(plan, gateway.name);
    // Takes the place of the proxy for the probe that calls through it.
    const front = await startGateway({
      name: gateway.name,
      host: plan.host,
      port: gateway.proxyPort,
      seed: 1,
      desiredStateFile: paths.gatewayControl(plan, gateway.name),
      readDesired: () => HEALTHY_GATEWAY,
    });
    closing.push(real.stop, front.stop);
  }

  const fell: string[] = [];
  const supervisor = createSupervisor({ groupsFile: join(directory, "groups"), print: (line) => void fell.push(line) });
  closing.push(() => supervisor.stopAll());
  const specs = specsOf(plan);
  const start = async (...parts: Part[]): Promise<void> => {
    await Promise.all(parts.map((part) => supervisor.start(specs[part])));
  };
  await start("nats-server");
  await applyLocalStreams(plan);
  const bus = await connectNats({ servers: `nats://${plan.host}:${plan.natsPort}`, name: "test", waitOnFirstConnect: true });
  closing.push(() => bus[Symbol.asyncDispose]());
  const relay = await startRelay(plan.host, plan.relayPorts["az-a"] ?? 0, plan.natsPort ?? 0);
  closing.push(() => relay.stop());
  await start(...options.parts);

  const publishControl = async (content: ControlContent): Promise<void> => {
    const message = controlMessage(CANARY, content, new Date().toISOString(), randomUUID());
    const subject = controlSubject(plan.fleet, CANARY, content.verb);
    await bus.publish({ subject, data: JSON.stringify(message), id: message.id });
  };
  return {
    plan,
    tokens,
    bus,
    relay,
    shimUrl: `http://${plan.host}:${plan.shimPort}`,
    start,
    kill: async (...parts) => void (await Promise.all(parts.map((part) => supervisor.stop(part, "kill")))),
    async stop(...parts) {
      await Promise.all(parts.map((part) => supervisor.stop(part)));
      for (const part of parts) assert.match(lastLines(specs[part].logFile, 1), /exited with 0$/, `${part} did not exit cleanly`);
    },
    freeze: (part) => signal(supervisor, part, "SIGSTOP"),
    thaw: (part) => signal(supervisor, part, "SIGCONT"),
    metric: (part, name) => readMetric(specs[part], name),
    publishControl,
    async openRun(revision) {
      await publishControl({ verb: "announce", caller: "flagger", revision });
      await publishControl({ verb: "weight", caller: "flagger", weight: 10, revision });
    },
    assertMatchesReplay: () => assertMatchesReplay(bus, plan.fleetFile),
    assertNoCrashes() {
      const complaints = Object.values(specs).flatMap(({ name, logFile }) =>
        lastLines(logFile, 100_000)
          .split("\n")
          .filter((line) => /"level":"(error|fatal)"|unhandled|uncaught/i.test(line))
          .map((line) => `${name}: ${line.slice(0, 2_000)}`),
      );
      assert.deepEqual([...fell, ...complaints], []);
    },
  };
}

async function planOf(directory: string, options: WorldOptions): Promise<FleetPlan> {
  const run = join(directory, "run");
  const files = writeFleetFiles(directory, options.policy ?? SHORT_POLICY, options.canaryGateways ?? ["mac-a1"]);
  const made = await makePlan({
    directory: run,
    ...files,
    seed: 1,
    requestsPerSecond: 0,
    servers: true,
    proxy: "built-in",
    choosePorts: (names) => choosePorts([...names, "evaluator-2"], join(directory, "ports.json")),
  });
  const ports = await choosePorts(["evaluator-2"], join(directory, "more-ports.json"));
  const { redisPort: _none, ...plan } = made;
  return { ...plan, opsPorts: { ...plan.opsPorts, ...ports } };
}

function specsOf(plan: FleetPlan): Readonly<Record<Part, ChildSpec>> {
  const program = locateTestServer("nats");
  if (program === undefined) throw new Error("nats-server was no longer found");
  const evaluator = evaluatorSpec(plan);
  const second = plan.opsPorts["evaluator-2"];
  return {
    "nats-server": natsSpec(plan, program),
    evaluator,
    "evaluator-2": {
      ...evaluator,
      name: "evaluator-2",
      logFile: paths.log(plan, "evaluator-2"),
      env: { ...evaluator.env, AVIARY_OPS_PORT: String(second) },
      ready: () => answers(`http://${plan.host}:${second}/readyz`),
    },
    shim: shimSpec(plan),
    "collector-mac-a1": collectorSpec(plan, "mac-a1", 0),
    "collector-mac-a2": collectorSpec(plan, "mac-a2", 0),
  };
}

function signal(supervisor: Supervisor, part: Part, name: NodeJS.Signals): void {
  const pid = supervisor.pid(part);
  if (pid === undefined) throw new Error(`${part} does not run`);
  process.kill(pid, name);
}

async function readMetric(spec: ChildSpec, name: string): Promise<number | undefined> {
  const port = spec.env?.AVIARY_OPS_PORT;
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`, { signal: AbortSignal.timeout(5_000) });
  const line = (await answer.text()).split("\n").find((text) => text.startsWith(`${name} `));
  return line === undefined ? undefined : Number(line.slice(name.length + 1));
}

async function assertMatchesReplay(bus: NatsBus, fleetFile: string): Promise<VerdictRecord[]> {
  const replayed = await replayedVerdicts(bus, fleetFile);
  let published: VerdictRecord[] = [];
  await until(
    "the evaluator has published what the log yields",
    async () => {
      published = await publishedVerdicts(bus);
      return published.length >= replayed.length;
    },
    { pollMs: 200, describe: () => `\n${formatVerdicts(published)}\nbut the log yields\n${formatVerdicts(replayed)}` },
  );
  const idsOf = (records: readonly VerdictRecord[]): string[] => records.map(({ body }) => body.id);
  const expected = idsOf(replayed);
  assert.deepEqual(
    idsOf(published).slice(0, expected.length),
    expected,
    `published\n${formatVerdicts(published)}\nbut the log yields\n${formatVerdicts(replayed)}`,
  );
  assert.equal(new Set(idsOf(published)).size, published.length, `a verdict was published twice:\n${formatVerdicts(published)}`);
  return published;
}
