/** Connects a world's controller with the advisor, the balancer and the pipeline. */
import { seededRandom } from "@aviary/shared/testing/random.ts";
import { START_MS } from "../../simulation/kernel.ts";
import { CANARY } from "../../simulation/shim-node.ts";
import type { Advisor } from "../advisors/advisor.ts";
import { packOf } from "../world/mac.ts";
import type { ReleasePlan } from "../world/releases.ts";
import type { Step } from "../world/samples.ts";
import { every, type World } from "../world/world.ts";
import { createRollouts, type Measurement } from "./argo-rollouts.ts";
import { createFlagger } from "./flagger.ts";
import type { Promoter } from "./promoter.ts";

/** A release process, with or without a controller. */
export interface Rollout {
  /** The release that is being rolled out or was last rolled out. */
  current(): ReleasePlan | undefined;
  /** Resumes a rollout that its controller has paused; false if it is not paused. */
  resume(): boolean;
  /** People end the rollout in its controller; false if the controller ends it by itself, or has none. */
  end(): boolean;
}

interface Driver {
  deploy(release: ReleasePlan): void;
  resume(): boolean;
  end(): boolean;
}

type OnStep = (step: { readonly what: Step["what"]; readonly revision: string; readonly weight: number }) => void;

/** The number of failed checks after which Flagger rolls back, as documented. */
const THRESHOLD = 2;
const LEFT_OVER_MEASUREMENTS = 8;

/** Starts the controller of a world and schedules the deployment of its releases. */
export function startRollout(world: World, advisor: Advisor, promoter: Promoter): Rollout {
  const { plan, kernel, record } = world;
  let current: ReleasePlan | undefined;
  const onStep: OnStep = ({ what, revision, weight }) => {
    const release = plan.releases.find(({ name }) => name === revision)!;
    record.steps.push({ atMs: world.nowMs(), release, what, weight });
    world.narrate(`rollout  ${revision} ${what}, weight ${weight}`);
    world.setWeight(weight);
    if (what === "rolled-back" && current === release) promoter.setRelease("canary", promoter.stable);
    if (what === "promoted") promoter.setRelease("stable", release);
  };
  const drive = { flagger: driveFlagger, rollouts: driveRollouts, none: driveObservation }[plan.controller];
  const driver = drive(world, advisor, onStep);
  for (const release of plan.releases) {
    announce(world, advisor, release);
    kernel.after(release.atMs, undefined, () => {
      current = release;
      const fault = release.fault === "none" ? "healthy" : `${release.fault}, ${release.size}`;
      world.narrate(`release  ${release.name} (${fault}) is deployed`);
      driver.deploy(release);
    });
    kernel.after(release.atMs + release.installAfterMs, undefined, () => {
      const isCurrent = current === undefined || plan.releases.indexOf(release) >= plan.releases.indexOf(current);
      if (isCurrent && !record.steps.some((step) => step.release === release && step.what === "rolled-back"))
        promoter.setRelease("canary", release);
    });
  }
  world.onFault(({ kind, forMs }) => {
    if (kind !== "eager-pipeline" || current === undefined) return;
    const before = promoter.stable;
    const wanted = current;
    promoter.setRelease("stable", wanted);
    kernel.after(forMs, undefined, () => {
      if (promoter.stable === wanted && !isPromoted(wanted)) promoter.setRelease("stable", before);
    });
  });
  const isPromoted = (release: ReleasePlan): boolean =>
    record.steps.some((step) => step.release === release && step.what === "promoted");
  return { current: () => current, resume: () => driver.resume(), end: () => driver.end() };
}

/** Announces a revision before the controller processes it, by Flux or by a pipeline through the command line. */
function announce({ plan, kernel }: World, advisor: Advisor, release: ReleasePlan): void {
  if (plan.announcer === "none") return;
  const named = { revision: release.name, skill_hash: packOf(release) };
  kernel.after(release.atMs - plan.intervalMs / 2, undefined, () =>
    advisor.operate(
      plan.announcer === "flux"
        ? { verb: "announce", caller: "flux", ...named }
        : { verb: "start", caller: "operator", ...named },
    ),
  );
}

function driveFlagger(world: World, advisor: Advisor, onStep: OnStep): Driver {
  const { plan } = world;
  const random = seededRandom(plan.seed, 21);
  const query = `query=${encodeURIComponent(`aviary_verdict{namespace="${CANARY.namespace}",canary="${CANARY.name}"}`)}`;
  const flagger = createFlagger({
    ...CANARY,
    post: (path, body) => advisor.request("flagger", path, "", body),
    measure: async () => {
      const answer = await advisor.request("flagger", "/flagger/api/v1/query", query, "");
      const value = /"value":\[\d+,"([^"]*)"\]/.exec(answer?.body ?? "")?.[1];
      return value === undefined ? Number.NaN : Number(value);
    },
    metadata: (revision): Record<string, string> => {
      const release = plan.releases.find(({ name }) => name === revision);
      return plan.namesRevision && release !== undefined ? { version: revision, skill_hash: packOf(release) } : {};
    },
    steps: plan.steps,
    threshold: THRESHOLD,
    now: () => START_MS + world.nowMs(),
    losesEvent: () => random() < plan.lostEvents,
    onStep,
  });
  let isBusy = false;
  every(
    world,
    plan.intervalMs,
    () => {
      if (isBusy || !world.controllerUp) return;
      isBusy = true;
      const before = flagger.phase;
      void flagger.tick().then(() => {
        isBusy = false;
        if (flagger.phase !== before) world.narrate(`flagger  ${flagger.phase} (${flagger.history.at(-1)?.slice(0, 120) ?? ""})`);
      });
    },
    700,
  );
  return { deploy: ({ name }) => flagger.deploy(name), resume: () => false, end: () => flagger.revert() };
}

function driveRollouts(world: World, advisor: Advisor, onStep: OnStep): Driver {
  const { plan, kernel } = world;
  const random = seededRandom(plan.seed, 22);
  let previous: string | undefined;
  const measure = async (revision: string, isLast: boolean): Promise<Measurement> => {
    const query = `namespace=${CANARY.namespace}&rollout=${CANARY.name}&revision=${revision}`;
    const answer = await advisor.request("rollouts", "/rollouts/analysis", query, "");
    if (answer?.status !== 200) return "Error";
    const { verdict, run } = JSON.parse(answer.body) as { verdict: string; run: { promotable: boolean } | null };
    if (verdict === "fail") return "Failed";
    // The last analysis requires the evidence for a promotion, the others the evidence for a step.
    return verdict === "pass" && (!isLast || run?.promotable === true) ? "Successful" : "Inconclusive";
  };
  const rollouts = createRollouts({
    measure,
    steps: plan.steps,
    intervalMs: plan.intervalMs,
    after: (ms, fn) => void kernel.after(ms, undefined, fn),
    isUp: () => world.controllerUp,
    onStep,
    notify: (revision, phase) => {
      if (random() < plan.lostEvents) return;
      const body = JSON.stringify({ namespace: CANARY.namespace, rollout: CANARY.name, revision, phase });
      void advisor.request("rollouts", "/rollouts/events", "", body);
    },
  });
  world.onFault(({ kind }) => {
    if (kind === "left-over-analysis" && previous !== undefined) rollouts.continueOldAnalysis(previous, LEFT_OVER_MEASUREMENTS);
  });
  let latest: string | undefined;
  return {
    deploy({ name }) {
      previous = latest;
      latest = name;
      rollouts.deploy(name);
    },
    resume() {
      const { isPaused } = rollouts;
      rollouts.resume();
      return isPaused;
    },
    end: () => rollouts.abort(),
  };
}

/** Windows of passes after which an advisor without runs has passed a release. */
const PASS_AFTER_WINDOWS = 12;

/** Without a controller, the canary slice has a constant share, and the pipeline acts on the verdict itself. */
function driveObservation(world: World, advisor: Advisor, onStep: OnStep): Driver {
  const { plan } = world;
  let release: ReleasePlan | undefined;
  let deployedAtMs = 0;
  let passingSinceMs: number | undefined;
  const end = (what: "promoted" | "rolled-back"): void => {
    const ended = release!;
    release = undefined;
    onStep({ what, revision: ended.name, weight: world.weight });
  };
  const poll = async (): Promise<void> => {
    const query = `namespace=${CANARY.namespace}&rollout=${CANARY.name}`;
    const answer = await advisor.request("operator", "/rollouts/analysis", query, "");
    if (release === undefined || answer?.status !== 200) return;
    const { verdict, run } = JSON.parse(answer.body) as {
      verdict: string;
      run: { state?: string; since?: string } | null;
    };
    // A run opened before the deployment is of an earlier release.
    if (run?.since !== undefined && Date.parse(run.since) < START_MS + deployedAtMs) return;
    if (verdict === "fail") return end("rolled-back");
    if (run?.state === "passed") return end("promoted");
    if (run?.state === "aborted" || run?.state === "expired") return end("rolled-back");
    if (run?.state !== undefined) return;
    passingSinceMs = verdict === "pass" ? (passingSinceMs ?? world.nowMs()) : undefined;
    if (passingSinceMs !== undefined && world.nowMs() - passingSinceMs >= PASS_AFTER_WINDOWS * plan.windowMs) end("promoted");
  };
  every(world, plan.intervalMs, () => void poll(), 700);
  return {
    deploy(next) {
      if (release !== undefined) onStep({ what: "superseded", revision: release.name, weight: world.weight });
      release = next;
      deployedAtMs = world.nowMs();
      passingSinceMs = undefined;
      onStep({ what: "started", revision: next.name, weight: world.weight });
    },
    resume: () => false,
    end() {
      if (release === undefined) return false;
      end("rolled-back");
      return true;
    },
  };
}
