/** `aviary collector probe`: runs one probe once. */
import { EXIT } from "@aviary/shared/commands/command.ts";
import { systemClock } from "@aviary/shared/runtime/clock.ts";
import { ConfigError } from "@aviary/shared/runtime/config.ts";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import { createHttpClient, type HttpClientTls } from "@aviary/shared/runtime/http-client.ts";
import { silentLogger } from "@aviary/shared/runtime/logger.ts";
import { loadCollectorConfig } from "../../config.ts";
import { NO_FACTS, type ProbeOutcome } from "../../probe.ts";
import { PROBES } from "../../probes/list.ts";
import type { ProbeCall } from "../probe.ts";

export async function runProbe(call: ProbeCall): Promise<number> {
  const { args, output, io } = call;
  try {
    const outcome = await readOnce(call);
    if (output === "json") io.stdout.write(`${JSON.stringify({ probe: args.probe, ...outcome })}\n`);
    else for (const body of outcome.bodies) io.stdout.write(`${outcome.kind} ${JSON.stringify(body, null, 2)}\n`);
    return EXIT.success;
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw terminal("probe_failed", `${args.probe}: ${error instanceof Error ? error.message : String(error)}`, error);
  }
}

async function readOnce({ args, options, io, resources }: ProbeCall): Promise<ProbeOutcome> {
  const config = await loadCollectorConfig(options.config, "set AVIARY_COLLECTOR_FILE or --config");
  const probe = PROBES.find((candidate) => candidate.name === args.probe);
  const settings = config.probes[args.probe];
  if (probe === undefined || settings === undefined)
    throw new Error(`not configured; add probes.${args.probe} to ${options.config}`);
  const http = resources.add(createHttpClient({ loopback: true, allow: config.allowHosts }));
  const context = {
    gateway: config.gateway,
    clock: systemClock,
    random: Math.random,
    http,
    openHttp: (tls: HttpClientTls) => createHttpClient({ loopback: true, allow: config.allowHosts, tls }),
    log: silentLogger,
    facts: () => NO_FACTS,
    count: () => {},
  };
  const opened = resources.add(probe.open(settings, context));
  if (probe.coversPeriod) {
    io.stderr.write(`counting for ${settings.period / 1_000} s\n`);
    await systemClock.sleep(settings.period, io.signal);
  }
  const deadline = new AbortController();
  const cancelTimer = systemClock.setTimer(settings.timeout, () =>
    deadline.abort(new Error(`no result within ${settings.timeout} ms`)),
  );
  try {
    const signal = AbortSignal.any([io.signal, deadline.signal]);
    return await opened.read({ atMs: systemClock.now(), periodMs: settings.period }, signal);
  } finally {
    cancelTimer();
  }
}
