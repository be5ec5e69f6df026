/** Canaries as lines of text: one for the verdict, one per reason, then the figures behind them. */
import { styleText } from "node:util";
import { LEASE_STALE_MS } from "@aviary/shared/contract/lease.ts";
import type { VerdictBody } from "@aviary/shared/contract/verdict.ts";
import type { CanaryView, Overview } from "./shim-client.ts";

const COLOUR = { pass: "green", hold: "yellow", fail: "red" } as const;
const INDENT = "      ";

export type Paint = (style: Parameters<typeof styleText>[0], text: string) => string;

/** Styles text for a terminal; leaves it plain for a file or a pipe, and where NO_COLOR is set. */
export const painterFor =
  (stream: NodeJS.WritableStream): Paint =>
  (style, text) =>
    styleText(style, text, { stream: stream as NodeJS.WriteStream, validateStream: true });

/** The whole overview. @param isWide adds ids and the scope of every reason */
export function overviewText(overview: Overview, paint: Paint, isWide = false): string {
  const { bus, server } = overview.evaluator;
  const header = paint("dim", `${overview.now.slice(0, 19)}Z  ${evaluatorText(overview, paint)}, bus ${bus} (${server})`);
  return `${[header, ...overview.canaries.flatMap((canary) => ["", ...canaryLines(canary, paint, isWide)])].join("\n")}\n`;
}

function evaluatorText({ evaluator: { lease_age_ms: ageMs } }: Overview, paint: Paint): string {
  if (ageMs === null) return paint("red", "no evaluator");
  return ageMs > LEASE_STALE_MS ? paint("red", `evaluator silent for ${Math.round(ageMs / 1_000)} s`) : "evaluator up";
}

/** The verdict and its reasons. */
export function verdictLines(canary: CanaryView, paint: Paint, isWide = false): string[] {
  const name = `${canary.subject.namespace}/${canary.subject.name}`;
  const window = canary.window === null ? "no window yet" : `window ${canary.window.index}`;
  const stale = canary.stale ? paint("yellow", "  STALE") : "";
  const mark = paint(["bold", COLOUR[canary.verdict]], canary.verdict.toUpperCase().padEnd(4));
  const time = paint("dim", `${window}, ${canary.at.slice(11, 19)}Z`);
  const lines = [`${mark}  ${paint("bold", name)}  ${runText(canary)}  ${time}${stale}`];
  for (const reason of canary.reasons) {
    lines.push(`${INDENT}${reason.code.padEnd(16)} ${reason.text}`);
    const scope = [reason.az, reason.gateway].filter((part) => part !== null && part !== undefined).join(" ");
    if (isWide && scope !== "") lines.push(paint("dim", `${INDENT}${"".padEnd(16)} ${scope}`));
  }
  if (canary.reasons_more) lines.push(`${INDENT}and ${canary.reasons_more} more reasons`);
  return lines;
}

/** The verdict, its reasons, its warnings and the figures behind them. */
export function canaryLines(canary: CanaryView, paint: Paint, isWide = false): string[] {
  const details = [
    ...canary.warnings.map((warning) => `${`(${warning.code})`.padEnd(16)} ${warning.text}`),
    ...(canary.window === null ? [] : [trafficText(canary)]),
    `${canary.gateway.fresh} of ${canary.gateway.expected} gateways fresh; ${judgeText(canary)}`,
    ...canary.lanes.map(laneText),
    ...(isWide ? idLines(canary) : []),
  ];
  return [...verdictLines(canary, paint, isWide), ...details.map((line) => paint("dim", `${INDENT}${line}`))];
}

function runText({ run }: VerdictBody): string {
  if (run === null) return "no run";
  const state = run.state === "failed" && !run.canary_active ? "failed and over" : run.state;
  const promotable = run.promotable ? ", promotable" : "";
  return `run ${run.controller_revision ?? run.revision} ${state}, weight ${run.weight}%${promotable}`;
}

function trafficText({ canary, stable }: VerdictBody): string {
  return [`canary ${sliceText(canary)}`, ...(stable === null ? [] : [`stable ${sliceText(stable)}`])].join("; ");
}

function sliceText({ requests, "5xx_rate": rate, p99_ms: p99Ms }: VerdictBody["canary"]): string {
  const rateText = rate === null ? "no traffic" : `${(rate * 100).toFixed(2)}% 5xx`;
  const p99Text = p99Ms === null ? "" : `, p99 ${Math.round(p99Ms)} ms`;
  return `${requests.toLocaleString("en")} requests, ${rateText}${p99Text}`;
}

function judgeText({ judge }: VerdictBody): string {
  return `literal ${judge.literal}, two-key ${judge.two_key}, in force ${judge.mode}`;
}

function laneText({ lane, record }: CanaryView["lanes"][number]): string {
  if (record === null) return `lane ${lane}: not known yet`;
  const growth = record.allow === 0 ? ", growth barred" : "";
  return `lane ${lane}: ${record.depth} of ${record.depth_true} jobs shown to KEDA, ${record.replicas} replicas (at most ${record.max_replicas})${growth}`;
}

function idLines({ id, run }: VerdictBody): string[] {
  return [`verdict ${id}`, ...(run === null ? [] : [`run ${run.id}, revision ${run.revision}, since ${run.since}`])];
}
