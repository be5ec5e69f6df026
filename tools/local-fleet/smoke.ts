/**
 * `npm start -- --smoke`: an end-to-end story on real servers, with this program in the role of Flagger. It prints one JSON line
 * per step; the exit code is the result.
 *
 *     announced → warming → pass → 5xx: fail at the second window → the fault ends: still failed → restored → new revision → pass
 *     → a wrong skill pack in one zone: hold with its name → a full disk: the build lane at its minimum
 */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { VerdictBody } from "@aviary/shared/contract/verdict.ts";
import { heal, injectFault, release, setWeight, stableVersion } from "../../examples/fleet/src/faults.ts";
import { type LocalFleet, PROJECT, startFleet } from "./compose.ts";
import { lockDirectory } from "./directory-lock.ts";
import { type Controller, createFlaggerClient } from "./flagger-client.ts";
import { findServers } from "./servers.ts";

/**
 * A step that takes longer has failed. Windows are 5 s long; the longest wait is for two windows and the rest of a
 * third.
 */
const STEP_WITHIN_MS = 40_000;
/** The context, complete once everything is running. */
const SMOKE_WITHIN_MS = 120_000;
const LOOK_EVERY_MS = 150;
const REQUESTS_PER_SECOND = 60;
const WEIGHT = 50;

type Facts = Readonly<Record<string, unknown>>;

interface SmokeContext {
  readonly fleet: LocalFleet;
  readonly flagger: Controller;
  readonly signal: AbortSignal;
}

const STEPS: readonly (readonly [name: string, run: (context: SmokeContext) => Promise<Facts>])[] = [
  [
    "all_gateways_seen",
    ({ flagger, signal }) =>
      verdictBy(signal, flagger, (body) => body.gateway.fresh === body.gateway.expected && body.reasons[0]?.code === "no_run"),
  ],
  [
    "announced",
    async ({ flagger, signal }) => {
      const status = await gateBy(signal, () => flagger.gate("confirm-rollout", "v7", "Initialized"), 200);
      return { ...(await verdictBy(signal, flagger, (body) => body.run?.state === "pending")), confirm_rollout: status };
    },
  ],
  [
    "warming",
    async ({ fleet, flagger, signal }) => {
      release(fleet.plan, "canary", "2026.9.7");
      const seen = await verdictBy(signal, flagger, (body) => body.run?.state === "warming" && body.verdict === "hold");
      return { ...seen, ...(await shiftTraffic(fleet, flagger, "v7")) };
    },
  ],
  [
    "pass",
    async ({ flagger, signal }) => {
      const seen = await verdictBy(signal, flagger, (body) => body.verdict === "pass");
      return { ...seen, ...(await gates(flagger, "v7", { "confirm-traffic-increase": 200, rollback: 403 })) };
    },
  ],
  ["fail_at_second_window", failAtSecondWindow],
  [
    "stays_failed_after_the_fault",
    async ({ fleet, flagger, signal }) => {
      heal(fleet.plan);
      return verdictBy(signal, flagger, (body) => {
        if (body.verdict !== "fail") throw new Error(`the failure is not latched: ${JSON.stringify(picture(body))}`);
        return body.canary.requests > 0 && body.canary.errors_5xx === 0;
      });
    },
  ],
  [
    "restored",
    async ({ fleet, flagger, signal }) => {
      setWeight(fleet.plan, 0);
      release(fleet.plan, "canary", stableVersion(fleet.plan));
      return verdictBy(signal, flagger, (body) => body.run?.canary_active === false);
    },
  ],
  [
    "new_revision_passes",
    async ({ fleet, flagger, signal }) => {
      const before = (await flagger.verdict()).run?.id;
      await gateBy(signal, () => flagger.gate("confirm-rollout", "v8", "Failed"), 200);
      release(fleet.plan, "canary", "2026.9.8");
      await verdictBy(signal, flagger, (body) => body.run?.id !== before && body.run?.state === "warming");
      await shiftTraffic(fleet, flagger, "v8");
      return verdictBy(signal, flagger, (body) => body.verdict === "pass" && body.run?.id !== before);
    },
  ],
  [
    "wrong_skills_hold",
    async ({ fleet, flagger, signal }) => {
      const [gateway] = injectFault(fleet.plan, "skills", { az: "az-b", slice: "canary" });
      const seen = await verdictBy(
        signal,
        flagger,
        (body) =>
          body.verdict === "hold" &&
          body.reasons.some((reason) => reason.code === "skill_skew" && (reason.az === "az-b" || reason.text.includes("az-b"))),
      );
      heal(fleet.plan);
      await verdictBy(signal, flagger, (body) => body.verdict === "pass");
      return { ...seen, gateway };
    },
  ],
  [
    "full_disk_lane_at_minimum",
    async ({ fleet, flagger, signal }) => {
      const { lane } = fleet.plan;
      injectFault(fleet.plan, "queue");
      const before = await waitFor(signal, "replicas above the minimum", async () => {
        const { scale } = await flagger.lane(lane);
        return [scale.replicas > 0 && scale.depth_true >= 40, scale] as const;
      });
      injectFault(fleet.plan, "disk", { az: "az-b", slice: "canary" });
      const after = await waitFor(signal, "no replica", async () => {
        const { scale } = await flagger.lane(lane);
        return [scale.replicas === 0 && scale.depth === 0, scale] as const;
      });
      const seen = await verdictBy(signal, flagger, (body) => body.reasons.some((reason) => reason.code === "disk_red"));
      return {
        ...seen,
        replicas_before: before.replicas,
        replicas: after.replicas,
        depth_true: after.depth_true,
        depth: after.depth,
      };
    },
  ],
];

/** Runs the story in its own directory. @returns the exit code */
export async function smoke(directory: string): Promise<number> {
  const release = lockDirectory(directory);
  const stopping = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.on(signal, () => stopping.abort(new Error(`stopped by ${signal}`)));
  const servers = findServers(() => {});
  let fleet: LocalFleet | undefined;
  try {
    const startedAt = performance.now();
    if (typeof servers === "string") throw new Error(servers);
    fleet = await startFleet({
      directory,
      fleetFile: join(PROJECT, "examples/fleet/config/smoke.yaml"),
      fragments: join(PROJECT, "examples/fleet/config/smoke.d"),
      fresh: true,
      servers,
      seed: 1,
      requestsPerSecond: REQUESTS_PER_SECOND,
      weight: 0,
      print: (line) => process.stderr.write(`${line}\n`),
      signal: stopping.signal,
    });
    write("set_up", true, startedAt, { directory });
    return await runSteps({ fleet, flagger: createFlaggerClient(fleet.plan, fleet.tokens), signal: stopping.signal });
  } catch (error) {
    write("set_up", false, performance.now(), { error: (error as Error).message });
    return 1;
  } finally {
    await fleet?.stop();
    release();
  }
}

async function runSteps(context: SmokeContext): Promise<number> {
  const whole = AbortSignal.timeout(SMOKE_WITHIN_MS);
  for (const [step, play] of STEPS) {
    const startedAt = performance.now();
    try {
      const signal = AbortSignal.any([context.signal, whole, AbortSignal.timeout(STEP_WITHIN_MS)]);
      write(step, true, startedAt, await play({ ...context, signal }));
    } catch (error) {
      const last = await context.flagger.verdict().then(picture, () => null);
      write(step, false, startedAt, {
        error: (error as Error).message,
        verdict: last,
        logs: join(context.fleet.plan.directory, "logs"),
      });
      return 1;
    }
  }
  return 0;
}

function write(step: string, ok: boolean, startedAt: number, saw: Facts): void {
  process.stdout.write(`${JSON.stringify({ step, ok, took_ms: Math.round(performance.now() - startedAt), saw })}\n`);
}

/** Flagger's messages at its start, and the weight set by its load balancer. */
async function shiftTraffic(fleet: LocalFleet, flagger: Controller, revision: string): Promise<Facts> {
  const [namespace, name] = fleet.plan.canary.split("/");
  const status = await flagger.event(`Advance ${name}.${namespace} canary weight ${WEIGHT}`, revision);
  setWeight(fleet.plan, WEIGHT);
  if (status !== 200) throw new Error(`the event webhook returned ${status}`);
  return { event: status };
}

/** The threshold rule: the first window over the ceiling fails nothing, the next one does. */
async function failAtSecondWindow({ fleet, flagger, signal }: SmokeContext): Promise<Facts> {
  injectFault(fleet.plan, "5xx", { slice: "canary" });
  let firstOver: number | undefined;
  const seen = await verdictBy(signal, flagger, (body) => {
    const index = body.window?.index;
    if (body.judge.consecutive_over === 1 && index !== undefined) firstOver ??= index;
    return body.verdict === "fail";
  });
  const failedAt = (await flagger.verdict()).window?.index;
  if (firstOver === undefined) throw new Error("failed without a first window over the ceiling");
  if (failedAt === undefined || failedAt < firstOver + 1)
    throw new Error(`failed at window ${failedAt}, first over the ceiling at ${firstOver}`);
  return {
    ...seen,
    first_over: firstOver,
    ...(await gates(flagger, "v7", { rollback: 200, "confirm-promotion": 403, "confirm-traffic-increase": 403 })),
  };
}

async function gates(flagger: Controller, revision: string, wanted: Readonly<Record<string, number>>): Promise<Facts> {
  const seen: Record<string, number> = {};
  for (const [gate, status] of Object.entries(wanted)) {
    seen[gate] = await flagger.gate(gate, revision);
    if (seen[gate] !== status) throw new Error(`gate ${gate} returned ${seen[gate]}, expected ${status}`);
  }
  return { gates: seen };
}

async function gateBy(signal: AbortSignal, ask: () => Promise<number>, wanted: number): Promise<number> {
  return waitFor(signal, `a gate that returns ${wanted}`, async () => {
    const status = await ask();
    return [status === wanted, status] as const;
  });
}

async function verdictBy(signal: AbortSignal, flagger: Controller, condition: (body: VerdictBody) => boolean): Promise<Facts> {
  return waitFor(signal, "a verdict", async () => {
    const body = await flagger.verdict();
    return [condition(body), picture(body)] as const;
  });
}

/** Polls until the condition is met. @throws Error with the last observation if the step's time has passed */
async function waitFor<T>(signal: AbortSignal, what: string, look: () => Promise<readonly [boolean, T]>): Promise<T> {
  for (;;) {
    const [done, seen] = await look();
    if (done) return seen;
    if (signal.aborted) throw new Error(`waited for ${what}, saw ${JSON.stringify(seen)} (${(signal.reason as Error).message})`);
    await sleep(LOOK_EVERY_MS);
  }
}

function picture(body: VerdictBody): Facts {
  return {
    verdict: body.verdict,
    run: body.run?.state ?? null,
    revision: body.run?.controller_revision ?? null,
    window: body.window?.index ?? null,
    requests: body.canary.requests,
    errors_5xx: body.canary.errors_5xx,
    reasons: body.reasons.map((reason) =>
      [reason.code, reason.az, reason.gateway].filter((part) => part !== undefined).join(" "),
    ),
  };
}
