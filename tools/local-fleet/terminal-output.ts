/** The terminal output. Colors only on a terminal, unless `NO_COLOR` is set. */
import { relative } from "node:path";
import { styleText } from "node:util";
import { columnsOf, wrapText } from "@aviary/shared/commands/terminal-text.ts";
import { type FleetPlan, paths } from "../../examples/fleet/src/layout.ts";
import { tokenFile } from "./tokens.ts";

type Style = Parameters<typeof styleText>[0];
const painted =
  (style: Style) =>
  (text: string): string =>
    styleText(style, text, { stream: process.stdout });
export const bold = painted("bold");
export const dim = painted("dim");
export const red = painted("red");
export const green = painted("green");
export const yellow = painted("yellow");

/** Breaks a text into lines that fit the terminal, each after `indent` spaces. */
export function wrapped(text: string, indent: number): string[] {
  const margin = " ".repeat(indent);
  return wrapText(margin + text, columnsOf(process.stdout), margin);
}

export interface Welcome {
  readonly plan: FleetPlan;
  readonly token: string;
  /** The running servers, for example `nats-server 2.15.2, caddy 2.6.2`. */
  readonly servers: string;
  readonly tookMs: number;
  /** Limitations of this start, if any. */
  readonly lacks?: string;
  /** The current activity, in one sentence. */
  readonly now: string;
  /** Whether the next start resumes with the data of this one. */
  readonly isKept: boolean;
}

/** URLs, the token, and suggestions for next steps. */
export function welcome({ plan, token, servers, tookMs, lacks, now, isKept }: Welcome): string {
  const shim = `http://${plan.host}:${plan.shimPort}`;
  const file = relative(process.cwd(), tokenFile(plan, "operator"));
  const zones = new Set(plan.gateways.map((gateway) => gateway.az)).size;
  const field = (name: string, value: string, note = ""): string => {
    const first = `  ${dim(name.padEnd(11))}${value}`;
    if (note === "") return first;
    return 13 + value.length + 3 + note.length <= 80 ? `${first}   ${dim(note)}` : `${first}\n${" ".repeat(13)}${dim(note)}`;
  };
  const command = (text: string, note: string): string => `  ${text.padEnd(36)}${dim(note)}`;
  return [
    "",
    `  ${bold("Aviary")}  ${plan.gateways.length} gateways in ${zones} zones, ${plan.requestsPerSecond} requests per second`,
    ...wrapped(`${servers}; up after ${(tookMs / 1000).toFixed(1)} s`, 2).map(dim),
    ...(lacks === undefined ? [] : wrapped(lacks, 2).map(yellow)),
    "",
    field("Dashboard", `${shim}/`, "any user name; the password is the token"),
    field("Verdict", `${shim}/flagger/metrics`),
    field("Token", token, `also in ${file}`),
    field("Users' VIP", `http://${plan.host}:${plan.vipPort}/`),
    ...(plan.natsPort === undefined
      ? []
      : [field("NATS", `nats://${plan.host}:${plan.natsPort}`, `monitoring http://${plan.host}:${plan.natsMonitorPort}/`)]),
    field("Logs", `${relative(process.cwd(), paths.log(plan, "*"))}`),
    "",
    ...wrapped(now, 2),
    "",
    `  ${bold("Try")}  ${dim("(in another terminal)")}`,
    `  curl -s ${shim}/flagger/metrics \\`,
    `    -H "Authorization: Bearer $(cat ${file})"`,
    command("npx aviary status", "the verdict of every canary, with reasons"),
    command("npx aviary fleet fault 5xx", "make the canary slice fail"),
    command("npx aviary fleet heal", "end the fault; the failure stays latched"),
    command("npx aviary fleet restore", "roll back; the failed run ends"),
    command("npx aviary fleet release 2026.9.8", "install a new release; a new run opens"),
    "",
    `  ${dim(`Ctrl-C stops everything; the next start ${isKept ? "resumes here" : "begins from scratch"}.`)}`,
    "",
  ].join("\n");
}
