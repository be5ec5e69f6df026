/** `aviary collector probe`: print what one probe would publish, without publishing it. */
import { parseArgs } from "node:util";
import type { Command, CommandIo } from "@aviary/shared/commands/command.ts";
import { systemClock } from "@aviary/shared/runtime/clock.ts";
import { ConfigError } from "@aviary/shared/runtime/config.ts";
import { createHttpClient } from "@aviary/shared/runtime/http-client.ts";
import { silentLogger } from "@aviary/shared/runtime/logger.ts";
import { type CollectorConfig, loadCollectorConfig } from "../config.ts";
import { NO_FACTS, type Outcome, type Probe } from "../probe.ts";
import { PROBES } from "../probes/list.ts";

const USAGE = "collector probe <name> [--config collector.yaml] [--json]";

export const probeVerb: Command = {
  name: "collector probe",
  summary: "print what one probe of a collector would publish",
  usage: USAGE,
  async run(args, io) {
    const known = PROBES.map((probe) => probe.name).join(", ");
    const parsed = readArgs(args);
    if (parsed === undefined || parsed.name === undefined) {
      io.stderr.write(`usage: aviary ${USAGE}\nprobes: ${known}\n`);
      return 2;
    }
    const { name, json } = parsed;
    const file = parsed.config ?? io.env.AVIARY_COLLECTOR_FILE ?? "collector.yaml";
    const probe = PROBES.find((candidate) => candidate.name === name);
    if (probe === undefined) {
      io.stderr.write(`unknown probe ${JSON.stringify(name)}; probes: ${known}\n`);
      return 2;
    }
    try {
      const outcome = await readOnce(probe, await loadCollectorConfig(file), file, io);
      if (json) io.stdout.write(`${JSON.stringify({ probe: name, ...outcome })}\n`);
      else for (const body of outcome.bodies) io.stdout.write(`${outcome.kind} ${JSON.stringify(body, null, 2)}\n`);
      return 0;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      io.stderr.write(`${error instanceof ConfigError ? message : `${name}: ${message}`}\n`);
      return 1;
    }
  },
};

function readArgs(args: readonly string[]): { name: string | undefined; config: string | undefined; json: boolean } | undefined {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { config: { type: "string" }, json: { type: "boolean", default: false } },
    });
    return positionals.length > 1 ? undefined : { name: positionals[0], config: values.config, json: values.json };
  } catch {
    return undefined;
  }
}

async function readOnce(probe: Probe, config: CollectorConfig, file: string, io: CommandIo): Promise<Outcome> {
  const settings = config.probes[probe.name];
  if (settings === undefined) throw new Error(`not configured: add probes.${probe.name} to ${file}`);
  const http = createHttpClient({ loopback: true, allow: config.allowHosts });
  const context = {
    gateway: config.gateway,
    clock: systemClock,
    random: Math.random,
    http,
    log: silentLogger,
    facts: () => NO_FACTS,
    count: () => {},
  };
  const opened = probe.open(settings, context);
  try {
    if (probe.coversPeriod) {
      io.stderr.write(`counting for ${settings.period / 1_000} s\n`);
      await systemClock.sleep(settings.period, io.signal);
    }
    const deadline = new AbortController();
    const cancel = systemClock.setTimer(settings.timeout, () =>
      deadline.abort(new Error(`no result within ${settings.timeout} ms`)),
    );
    try {
      return await opened.read(
        { at: systemClock.now(), periodMs: settings.period },
        AbortSignal.any([io.signal, deadline.signal]),
      );
    } finally {
      cancel();
    }
  } finally {
    await opened[Symbol.asyncDispose]();
    http[Symbol.dispose]();
  }
}
