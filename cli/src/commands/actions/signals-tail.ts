/** `aviary signals tail`: prints signals as the broker stores them; with `-o json`, one per line. */
import type { StoredMessage } from "@aviary/shared/bus/bus.ts";
import { EXIT } from "@aviary/shared/commands/command.ts";
import { openBus } from "@aviary/shared/commands/open-bus.ts";
import { columnsOf, wrapText } from "@aviary/shared/commands/terminal-text.ts";
import { isoTime } from "@aviary/shared/contract/iso-time.ts";
import { parseSignal, type Signal, type SignalBody } from "@aviary/shared/contract/signal.ts";
import { parseInputSubject } from "@aviary/shared/contract/subjects.ts";
import { systemClock } from "@aviary/shared/runtime/clock.ts";
import type { SignalsTailCall } from "../signals-tail.ts";

/** Indent of continuation lines: aligns them with the text after the time. */
const TIME_INDENT = " ".repeat(14);
const SILENCE_MS = 10_000;

export async function signalsTail({ options, output, io, resources }: SignalsTailCall): Promise<number> {
  const bus = resources.add(await openBus(io));
  const cancelNotice = systemClock.setTimer(SILENCE_MS, () =>
    io.stderr.write(`no matching signal for ${SILENCE_MS / 1_000} s; still waiting\n`),
  );
  resources.add({ [Symbol.dispose]: cancelNotice });
  // JSON is for programs, which read one signal per line.
  const columns = output === "json" ? Number.POSITIVE_INFINITY : columnsOf(io.stdout);
  const follower = await bus.follow({
    stream: "INPUTS",
    from: "new",
    onMessage: (message) => {
      const line = lineOf(message, options, output === "json");
      if (line === undefined) return;
      cancelNotice();
      io.stdout.write(`${wrapText(line, columns, TIME_INDENT).join("\n")}\n`);
    },
  });
  resources.add({ [Symbol.asyncDispose]: () => follower.stop() });
  await new Promise<void>((resolve) => io.signal.addEventListener("abort", () => resolve(), { once: true }));
  return EXIT.success;
}

/** Formats one signal; undefined for other messages and for signals that the options filter out. */
function lineOf(message: StoredMessage, options: SignalsTailCall["options"], isJson: boolean): string | undefined {
  const subject = parseInputSubject(message.subject);
  if (subject?.family !== "signal") return undefined;
  if (options.fleet !== undefined && subject.fleet !== options.fleet) return undefined;
  if (options.gateway !== undefined && subject.gateway !== options.gateway) return undefined;
  if (options.kind !== undefined && subject.kind !== options.kind) return undefined;
  const text = Buffer.from(message.data).toString();
  if (isJson) return text;
  const time = isoTime(message.storedAtMs).slice(11, 23);
  return `${time}  ${subject.az}  ${subject.gateway.padEnd(12)} ${subject.kind.padEnd(8)} ${summaryOf(text)}`;
}

function summaryOf(text: string): string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return "not JSON";
  }
  const parsed = parseSignal(value);
  if (parsed.success) return bodySummary(parsed.data);
  const issue = parsed.error.issues[0];
  return `invalid: ${issue?.path.join(".")} ${issue?.message}`;
}

function httpSummary({ source, requests, errors_5xx, aborted, unread }: SignalBody<"http">): string {
  const more = Object.entries({ aborted, unread }).flatMap(([name, count = 0]) => (count > 0 ? [`, ${count} ${name}`] : []));
  return `${source} ${requests} requests, ${errors_5xx} 5xx${more.join("")}`;
}

function bodySummary(signal: Signal): string {
  switch (signal.kind) {
    case "http":
      return httpSummary(signal.body);
    case "health":
      return [signal.body.state, ...signal.body.failing].join(" ");
    case "queue":
      return `${signal.body.lane} ${signal.body.depth}`;
    case "disk":
      return `${(signal.body.used_ratio * 100).toFixed(1)}% of ${signal.body.tier}${signal.body.writable ? "" : ", read-only"}`;
    case "skills":
      return `${signal.body.pack_hash.slice(0, 12)} ${signal.body.count} skills`;
    case "deps":
      return signal.body.map((dependency) => `${dependency.name} ${dependency.ok ? "up" : "DOWN"}`).join(", ");
    default:
      return JSON.stringify(signal.body).replaceAll(',"', ', "').slice(0, 120);
  }
}
