/** Canaries as lines of text: one for the verdict, one per reason, then the figures behind them. */
import { styleText } from "node:util";
import { columnsOf, wrapText } from "@aviary/shared/commands/terminal-text.ts";
import { LEASE_STALE_MS } from "@aviary/shared/contract/lease.ts";
import { isRestoredRun } from "@aviary/shared/contract/run.ts";
import { formatCount } from "@aviary/shared/contract/units.ts";
import type { VerdictBody } from "@aviary/shared/contract/verdict.ts";
import type { CanaryView, Overview } from "./shim-client.ts";

const COLOR = { pass: "green", hold: "yellow", fail: "red" } as const;
const INDENT = "      ";
/** The column of a reason's text, after its code. */
const TEXT_INDENT = INDENT.padEnd(INDENT.length + 17);

export interface Style {
  readonly paint: (format: Parameters<typeof styleText>[0], text: string) => string;
  readonly columns: number;
}

/** Colors and wraps for a terminal; leaves text plain for a file or a pipe, and uncolored if NO_COLOR is set. */
export function styleFor(stream: NodeJS.WritableStream): Style {
  return {
    paint: (format, text) => styleText(format, text, { stream: stream as NodeJS.WriteStream, validateStream: true }),
    columns: columnsOf(stream),
  };
}

/** The whole overview. @param isWide adds ids and the scope of every reason */
export function overviewText(overview: Overview, style: Style, isWide = false): string {
  const { bus, server } = overview.evaluator;
  const time = `${overview.now.slice(0, 19)}Z`;
  const header = style.paint("dim", `${time}  ${evaluatorText(overview, style)}, bus ${bus} (${server})`);
  return `${[header, ...overview.canaries.flatMap((canary) => ["", ...canaryLines(canary, style, isWide)])].join("\n")}\n`;
}

function evaluatorText({ evaluator: { lease_age_ms: ageMs } }: Overview, { paint }: Style): string {
  if (ageMs === null) return paint("red", "no evaluator");
  return ageMs > LEASE_STALE_MS ? paint("red", `evaluator silent for ${Math.round(ageMs / 1_000)} s`) : "evaluator up";
}

/** The verdict and its reasons. */
export function verdictLines(canary: CanaryView, { paint, columns }: Style, isWide = false): string[] {
  const name = `${canary.subject.namespace}/${canary.subject.name}`;
  const window = canary.window === null ? "no window yet" : `window ${canary.window.index}`;
  const time = `${window}, ${canary.at.slice(11, 19)}Z`;
  const outcome = canary.verdict.toUpperCase();
  const stale = canary.stale ? "  STALE" : "";
  const length = [outcome, name, runText(canary), `${time}${stale}`].join("  ").length;
  const gap = length > columns ? `\n${INDENT}` : "  ";
  const start = `${paint(["bold", COLOR[canary.verdict]], outcome)}  ${paint("bold", name)}  ${runText(canary)}`;
  const lines = [`${start}${gap}${paint("dim", time)}${paint("yellow", stale)}`];
  for (const reason of canary.reasons) {
    lines.push(...wrapText(`${INDENT}${reason.code.padEnd(16)} ${reason.text}`, columns, TEXT_INDENT));
    const scope = [reason.az, reason.gateway].filter((part) => part !== null && part !== undefined).join(" ");
    if (isWide && scope !== "") lines.push(paint("dim", `${TEXT_INDENT}${scope}`));
  }
  if (canary.reasons_more) lines.push(`${INDENT}and ${formatCount(canary.reasons_more, "more reason")}`);
  return lines;
}

/** The verdict, its reasons, its warnings and the figures behind them. */
export function canaryLines(canary: CanaryView, style: Style, isWide = false): string[] {
  const details = [
    ...canary.warnings.map((warning) => `${`(${warning.code})`.padEnd(16)} ${warning.text}`),
    ...(canary.window === null ? [] : [trafficText(canary)]),
    `${gatewaysText(canary)}; ${judgeText(canary)}`,
    ...canary.lanes.map((lane) => laneText(lane, canary)),
    ...(isWide ? idLines(canary) : []),
  ];
  const wrapped = details.flatMap((line) => wrapText(`${INDENT}${line}`, style.columns, `${INDENT}  `));
  return [...verdictLines(canary, style, isWide), ...wrapped.map((line) => style.paint("dim", line))];
}

function runText({ run }: VerdictBody): string {
  if (run === null) return "no run";
  const state = isRestoredRun(run) ? "failed and restored" : run.state;
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
  return `threshold rule ${judge.literal}, two-key ${judge.two_key}; policy mode ${judge.mode}`;
}

/** A fleet has at least one gateway, so an answer with none has no stored verdict. */
function gatewaysText({ gateway: { fresh, expected } }: VerdictBody): string {
  return expected === 0 ? "gateways unknown" : `${fresh} of ${expected} gateways fresh`;
}

function laneText({ lane, record }: CanaryView["lanes"][number], { gateway }: VerdictBody): string {
  if (record === null) return `lane ${lane}: not known yet`;
  // The record of a lane whose depth was never reported contains 0; the verdict's depth is then null.
  const isKnown = record.depth_true > 0 || gateway.queue_depth !== null;
  const jobs = isKnown ? formatCount(record.depth_true, "job") : "an unknown number of jobs";
  const growth = record.allow === 0 ? ", growth blocked" : "";
  return `lane ${lane}: ${record.depth} of ${jobs} shown to KEDA, ${formatCount(record.replicas, "replica")} (at most ${record.max_replicas})${growth}`;
}

function idLines({ id, run }: VerdictBody): string[] {
  return [`verdict ${id}`, ...(run === null ? [] : [`run ${run.id}, revision ${run.revision}, since ${run.since}`])];
}
