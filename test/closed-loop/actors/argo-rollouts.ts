/**
 * Argo Rollouts 1.9 (analysis/analysis.go, utils/analysis, rollout/canary.go) for one canary whose every setWeight is followed by an
 * analysis step with the web provider, and whose ends a notification reports. A failed or erroneous run aborts, an inconclusive one pauses until people resume it. An
 * Error is retried after ten seconds, whatever the interval. The caller controls time and transport.
 */

export type Measurement = "Successful" | "Failed" | "Inconclusive" | "Error";

export interface RolloutsOptions {
  /** Evaluates the metric for a revision; `isLast` is the analysis before the promotion. */
  readonly measure: (revision: string, isLast: boolean) => Promise<Measurement>;
  readonly steps: readonly number[];
  readonly intervalMs: number;
  readonly after: (ms: number, fn: () => void) => void;
  /** Nothing is measured while the controller is down. */
  readonly isUp: () => boolean;
  readonly onStep: (step: RolloutsStep) => void;
  /** Sends the notification of an end, if one is configured. */
  readonly notify: (revision: string, phase: "Completed" | "Aborted") => void;
}

export interface RolloutsStep {
  readonly what: "started" | "widened" | "promoted" | "rolled-back" | "superseded" | "paused";
  readonly revision: string;
  readonly weight: number;
}

export interface Rollouts {
  readonly isPaused: boolean;
  deploy(revision: string): void;
  /** Resumes a rollout that an inconclusive analysis has paused. */
  resume(): void;
  /** Aborts the rollout, as an operator does; false if none is in progress. */
  abort(): boolean;
  /** Continues an old analysis of this revision for some measurements, as after a lost termination. */
  continueOldAnalysis(revision: string, measurements: number): void;
}

/** The limits of the published template. */
const INCONCLUSIVE_LIMIT = 30;
const CONSECUTIVE_ERROR_LIMIT = 20;
/** DefaultErrorRetryInterval. */
const ERROR_RETRY_MS = 10_000;

interface AnalysisRun {
  readonly revision: string;
  readonly step: number;
  inconclusive: number;
  errors: number;
}

export function createRollouts(options: RolloutsOptions): Rollouts {
  const { steps, intervalMs, after, measure } = options;
  let revision: string | undefined;
  let run: AnalysisRun | undefined;
  let weight = 0;
  let isPaused = false;

  const step = (what: RolloutsStep["what"], of: string, to: number): void => {
    weight = to;
    options.onStep({ what, revision: of, weight });
  };
  const finish = (what: "promoted" | "rolled-back"): void => {
    const ended = revision!;
    revision = undefined;
    run = undefined;
    step(what, ended, 0);
    options.notify(ended, what === "promoted" ? "Completed" : "Aborted");
  };
  const analyze = (index: number): void => {
    const started: AnalysisRun = { revision: revision!, step: index, inconclusive: 0, errors: 0 };
    run = started;
    after(intervalMs, () => void tick(started));
  };
  const succeed = (index: number): void => {
    const next = steps[index + 1];
    if (next === undefined) {
      finish("promoted");
      return;
    }
    step("widened", revision!, next);
    analyze(index + 1);
  };
  const tick = async (current: AnalysisRun): Promise<void> => {
    if (run !== current) return;
    if (!options.isUp()) return after(intervalMs, () => void tick(current));
    const measured = await measure(current.revision, current.step === steps.length - 1);
    if (run !== current) return;
    current.errors = measured === "Error" ? current.errors + 1 : 0;
    if (measured === "Successful") return succeed(current.step);
    if (measured === "Failed" || current.errors > CONSECUTIVE_ERROR_LIMIT) return finish("rolled-back");
    if (measured === "Inconclusive") current.inconclusive += 1;
    if (current.inconclusive > INCONCLUSIVE_LIMIT) {
      run = undefined;
      isPaused = true;
      return step("paused", current.revision, weight);
    }
    after(measured === "Error" ? ERROR_RETRY_MS : intervalMs, () => void tick(current));
  };

  return {
    get isPaused() {
      return isPaused;
    },
    deploy(next) {
      if (revision !== undefined) step("superseded", revision, 0);
      revision = next;
      isPaused = false;
      step("started", next, steps[0]!);
      analyze(0);
    },
    resume() {
      if (!isPaused || revision === undefined) return;
      isPaused = false;
      analyze(Math.max(0, steps.indexOf(weight)));
    },
    abort() {
      if (revision === undefined) return false;
      isPaused = false;
      finish("rolled-back");
      return true;
    },
    continueOldAnalysis(old, measurements) {
      const again = async (left: number): Promise<void> => {
        if (left === 0) return;
        await measure(old, false);
        after(intervalMs, () => void again(left - 1));
      };
      after(intervalMs / 2, () => void again(measurements));
    },
  };
}
