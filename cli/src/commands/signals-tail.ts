/** `aviary signals tail`: signals as the broker stores them, one line each. */
import { parseArgs } from "node:util";
import type { Command } from "@aviary/shared/commands/command.ts";
import { isoTime } from "@aviary/shared/contract/iso-time.ts";
import { parseSignal, type Signal } from "@aviary/shared/contract/signal.ts";
import { parseInputSubject, SIGNAL_KINDS } from "@aviary/shared/contract/subjects.ts";
import { systemClock } from "@aviary/shared/runtime/clock.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import { openBus, told } from "../../../services/evaluator/src/commands/open.ts";

const SILENCE_MS = 10_000;
const USAGE = "signals tail [--fleet <name>] [--gateway <name>] [--kind <kind>] [--json]";

export const signalsTailVerb: Command = {
  name: "signals tail",
  summary: "signals as they are stored",
  usage: USAGE,
  run: (args, io) =>
    told(USAGE, io, async () => {
      const { values } = parseArgs({
        args: [...args],
        options: {
          fleet: { type: "string" },
          gateway: { type: "string" },
          kind: { type: "string" },
          json: { type: "boolean", default: false },
        },
      });
      if (values.kind !== undefined && !(SIGNAL_KINDS as readonly string[]).includes(values.kind))
        throw terminal("usage", `--kind is one of ${SIGNAL_KINDS.join(", ")}`);
      const bus = await openBus(io);
      try {
        let silent = true;
        const notice = systemClock.setTimer(SILENCE_MS, () => {
          if (silent) io.stderr.write(`no such signal came in ${SILENCE_MS / 1000} s; still waiting\n`);
        });
        const follower = await bus.follow({
          stream: "INPUTS",
          from: "new",
          onMessage: (message) => {
            const subject = parseInputSubject(message.subject);
            if (subject?.family !== "signal") return;
            if (values.fleet !== undefined && subject.fleet !== values.fleet) return;
            if (values.gateway !== undefined && subject.gateway !== values.gateway) return;
            if (values.kind !== undefined && subject.kind !== values.kind) return;
            silent = false;
            const text = Buffer.from(message.data).toString();
            io.stdout.write(
              values.json
                ? `${text}\n`
                : `${isoTime(message.storedAt).slice(11, 23)}  ${subject.az}  ${subject.gateway.padEnd(12)} ${subject.kind.padEnd(8)} ${gist(text)}\n`,
            );
          },
        });
        await new Promise<void>((resolve) => io.signal.addEventListener("abort", () => resolve(), { once: true }));
        notice();
        await follower.stop();
        return 0;
      } finally {
        await bus[Symbol.asyncDispose]();
      }
    }),
};

/** What a person wants to see of a body. */
function gist(text: string): string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return "not JSON";
  }
  const parsed = parseSignal(value);
  if (!parsed.success) return `unreadable: ${parsed.error.issues[0]?.path.join(".")} ${parsed.error.issues[0]?.message}`;
  return gistOf(parsed.data);
}

function gistOf(signal: Signal): string {
  switch (signal.kind) {
    case "http":
      return `${signal.body.source} ${signal.body.requests} requests, ${signal.body.errors_5xx} 5xx`;
    case "health":
      return [signal.body.state, ...signal.body.failing].join(" ");
    case "queue":
      return `${signal.body.lane} ${signal.body.depth}`;
    case "disk":
      return `${(signal.body.used_ratio * 100).toFixed(1)} % of ${signal.body.tier}${signal.body.writable ? "" : ", cannot write"}`;
    case "skills":
      return `${signal.body.pack_hash.slice(0, 12)} ${signal.body.count} skills`;
    case "deps":
      return signal.body.map((dep) => `${dep.name} ${dep.ok ? "up" : "DOWN"}`).join(", ");
    default:
      return JSON.stringify(signal.body).slice(0, 120);
  }
}
