/** Canaries as lines of a terminal: one for the verdict, one for each reason. Colours only where a terminal shows them. */
import { styleText } from "node:util";
import type { VerdictBody } from "@aviary/shared/contract/verdict.ts";
import type { CanaryView, Overview } from "./shim-client.ts";

const COLOUR = { pass: "green", hold: "yellow", fail: "red" } as const;

/** Paints for the stream it is written to: plain text in a file or a pipe. */
export type Paint = (style: Parameters<typeof styleText>[0], text: string) => string;

export const painterFor =
  (stream: NodeJS.WritableStream): Paint =>
  (style, text) =>
    styleText(style, text, { stream: stream as NodeJS.WriteStream, validateStream: true });

/** `FAIL`, in its colour, padded. */
export function verdictMark(verdict: VerdictBody["verdict"], paint: Paint): string {
  return paint(["bold", COLOUR[verdict]], verdict.toUpperCase().padEnd(4));
}

const rateText = (rate: number | null): string => (rate === null ? "no traffic" : `${(rate * 100).toFixed(2)} % 5xx`);
const p99Text = (p99: number | null): string => (p99 === null ? "" : `, p99 ${Math.round(p99)} ms`);

function figures(body: VerdictBody): string {
  const { canary, stable } = body;
  const one = (name: string, side: NonNullable<VerdictBody["stable"]>): string =>
    `${name} ${side.requests.toLocaleString("en")} requests, ${rateText(side["5xx_rate"])}${p99Text(side.p99_ms)}`;
  return stable === null ? one("canary", canary) : `${one("canary", canary)}; ${one("stable", stable)}`;
}

function runText({ run }: VerdictBody): string {
  if (run === null) return "no run";
  const state = run.state === "failed" && !run.canary_active ? "failed and over" : run.state;
  const promotable = run.promotable ? ", promotable" : "";
  return `run ${run.controller_revision ?? run.revision} ${state}, weight ${run.weight} %${promotable}`;
}

/** The verdict with its reasons, and nothing beside them. */
export function verdictLines(canary: CanaryView, paint: Paint): string[] {
  const name = `${canary.subject.namespace}/${canary.subject.name}`;
  const window = canary.window === null ? "no window yet" : `window ${canary.window.index}`;
  const stale = canary.stale ? paint("yellow", "  STALE") : "";
  const lines = [
    `${verdictMark(canary.verdict, paint)}  ${paint("bold", name)}  ${runText(canary)}  ${paint("dim", `${window}, ${canary.at.slice(11, 19)}Z`)}${stale}`,
  ];
  for (const reason of canary.reasons) lines.push(`      ${reason.code.padEnd(16)} ${reason.text}`);
  if (canary.reasons_more) lines.push(`      and ${canary.reasons_more} more reasons`);
  return lines;
}

/** Everything about one canary that fits on a few lines. */
export function canaryLines(canary: CanaryView, paint: Paint): string[] {
  const lines = verdictLines(canary, paint);
  for (const warning of canary.warnings) lines.push(paint("dim", `      ${`(${warning.code})`.padEnd(16)} ${warning.text}`));
  if (canary.window !== null) lines.push(paint("dim", `      ${figures(canary)}`));
  lines.push(
    paint(
      "dim",
      `      ${canary.gateway.fresh} of ${canary.gateway.expected} gateways fresh; literal ${canary.judge.literal}, two-key ${canary.judge.two_key}, in force ${canary.judge.mode}`,
    ),
  );
  for (const { lane, record } of canary.lanes) {
    const text =
      record === null
        ? "not known yet"
        : `${record.depth} of ${record.depth_true} jobs shown to KEDA, ${record.replicas} replicas (at most ${record.max_replicas})${record.allow === 0 ? ", growth barred" : ""}`;
    lines.push(paint("dim", `      lane ${lane}: ${text}`));
  }
  return lines;
}

/** The whole overview. */
export function overviewText(overview: Overview, paint: Paint): string {
  const { lease_age_ms: age, bus, server } = overview.evaluator;
  const evaluator =
    age === null
      ? paint("red", "no evaluator")
      : age > 15_000
        ? paint("red", `evaluator silent for ${Math.round(age / 1000)} s`)
        : "evaluator up";
  const head = paint("dim", `${overview.now.slice(0, 19)}Z  ${evaluator}, bus ${bus} (${server})`);
  return `${[head, ...overview.canaries.flatMap((canary) => ["", ...canaryLines(canary, paint)])].join("\n")}\n`;
}
