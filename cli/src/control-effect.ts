/** Derives the effect of a control message from the verdicts before and after it. Pure. */
import type { ControlContent } from "@aviary/shared/contract/control.ts";
import { isOpenRun, isRestoredRun, type RunState } from "@aviary/shared/contract/run.ts";
import type { Outcome, RunView, VerdictBody } from "@aviary/shared/contract/verdict.ts";

/** The part of a verdict that operators can change. */
export interface RunSummary {
  readonly at: string;
  readonly verdict: Outcome;
  /** Null if the canary has had no run. */
  readonly run: {
    readonly id: string;
    readonly revision: string;
    readonly state: RunState;
    readonly canary_active: boolean;
    readonly attempt: number;
  } | null;
  /** The maintenance of the canary (`gateway` is null) and of its gateways, and a pause of the run. */
  readonly held: readonly { readonly gateway: string | null; readonly text: string }[];
  /** Whether the verdict has more reasons than it lists, so that `held` may be incomplete. */
  readonly has_more_reasons: boolean;
}

export interface ControlEffect {
  /** Before the message was stored; null if no verdict had been published. */
  readonly before: RunSummary | null;
  /** The first verdict that shows the effect, or else the newest one; null if none was published after the message. */
  readonly after: RunSummary | null;
  readonly changed: boolean;
}

export function summaryOf(body: VerdictBody): RunSummary {
  const held = [...body.reasons, ...body.warnings].filter(({ code }) => code === "maintenance");
  return {
    at: body.at,
    verdict: body.verdict,
    run: body.run === null ? null : runSummaryOf(body.run),
    held: held.map(({ gateway, text }) => ({ gateway: gateway ?? null, text })),
    has_more_reasons: (body.reasons_more ?? 0) > 0,
  };
}

function runSummaryOf(run: RunView): RunSummary["run"] {
  const { id, state, canary_active, attempt } = run;
  return { id, revision: run.controller_revision ?? run.revision, state, canary_active, attempt };
}

/**
 * Whether `after` shows the requested change and `before` does not: a run that progresses meanwhile is not an effect of a pause.
 */
export function showsEffect({ verb }: ControlContent, before: RunSummary | null, after: RunSummary): boolean {
  const [old, now] = [before?.run ?? null, after.run];
  switch (verb) {
    case "pause":
    case "resume":
    case "maintenance":
      return JSON.stringify(before?.held ?? []) !== JSON.stringify(after.held);
    case "clear":
      return old?.state === "failed" && (now?.id !== old.id || now.state !== "failed");
    case "abort":
      return now?.state === "aborted" && (old?.id !== now.id || old.state !== "aborted");
    case "start":
      return now !== null && now.id !== old?.id;
    default:
      return old?.id !== now?.id || old?.state !== now?.state;
  }
}

/** The change as text, such as `failed → warming, attempt 2`. */
export function transitionText({ before, after }: ControlEffect): string {
  return `${stateText(before)} → ${stateText(after)}`;
}

function stateText(summary: RunSummary | null): string {
  if (summary === null) return "no verdict";
  const { run, held } = summary;
  const state = run === null ? "no run" : isRestoredRun(run) ? "failed and restored" : run.state;
  const attempt = run === null || run.attempt === 1 ? "" : `, attempt ${run.attempt}`;
  return `${state}${attempt}${held.map(({ text }) => `, ${text}`).join("")}`;
}

/** Why a message had no effect, as far as the newest verdict shows it. */
export function unchangedReason(content: ControlContent, { before, after }: ControlEffect): string {
  const now = after ?? before;
  if (now === null) return "no verdict for this canary has been published";
  const { run } = now;
  const known = knownReason(content, now);
  if (known !== undefined) return known;
  if (run?.state === "failed")
    return "the run has failed, and the verdict of a latched failure shows no pause and no maintenance";
  return now.has_more_reasons ? "the verdict has more reasons than it lists" : "the verdict shows no effect";
}

function knownReason(content: ControlContent, now: RunSummary): string | undefined {
  const { run } = now;
  const isOpen = isOpenRun(run);
  const ofCanary = now.held.find(({ gateway }) => gateway === null);
  const noRun =
    run === null ? "no run is open" : `no run is open: the last one (${run.revision}) is ${stateText({ ...now, held: [] })}`;
  switch (content.verb) {
    case "clear":
      return run?.state === "failed"
        ? undefined
        : `no failure is latched: ${run === null ? "no run is open" : `the run is ${run.state}`}`;
    case "abort":
      if (!isOpen) return noRun;
      return run?.state === "failed" ? "a failed run cannot be aborted; `aviary run clear` clears its failure" : undefined;
    case "pause":
      if (!isOpen) return noRun;
      return ofCanary === undefined ? undefined : alreadyOnHold(ofCanary.text);
    case "resume":
      if (ofCanary !== undefined) return `it is still on hold: ${ofCanary.text}`;
      return run?.state === "failed" || now.has_more_reasons ? undefined : "the run is not paused";
    case "start":
      return isOpen && run?.revision === content.revision
        ? `a run of revision ${content.revision} is already open: ${run.state}`
        : undefined;
    case "maintenance":
      return maintenanceReason(content, now);
    default:
      return undefined;
  }
}

/** A new end time or reason by itself does not cause a verdict. */
const alreadyOnHold = (text: string): string => `it is already on hold (${text}); the next window's verdict shows the change`;

function maintenanceReason(content: Extract<ControlContent, { verb: "maintenance" }>, now: RunSummary): string | undefined {
  const target = content.gateway ?? null;
  const held = now.held.find(({ gateway }) => gateway === target);
  if (content.on) return held === undefined ? undefined : alreadyOnHold(held.text);
  if (held !== undefined) return `it is still on hold: ${held.text}`;
  if (now.run?.state === "failed" || now.has_more_reasons) return undefined;
  return `${target ?? "the canary"} is not in maintenance`;
}

/** The gateways whose own maintenance outlasts the end of the canary's; empty for every other message. */
export function stillInMaintenance(content: ControlContent, { before, after }: ControlEffect): string[] {
  if (content.verb !== "maintenance" || content.on || content.gateway !== undefined) return [];
  return ((after ?? before)?.held ?? []).flatMap(({ gateway }) => gateway ?? []);
}
