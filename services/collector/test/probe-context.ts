/** The context of a probe under test: real clock, real network, facts set by the test. */
import type { TestContext } from "node:test";
import { systemClock } from "@aviary/shared/runtime/clock.ts";
import { createHttpClient } from "@aviary/shared/runtime/http-client.ts";
import { silentLogger } from "@aviary/shared/runtime/logger.ts";
import { atEnd } from "@aviary/shared/testing/temporary.ts";
import { type EnvelopeFacts, NO_FACTS, type OpenProbe, type Probe, type ProbeContext, type ProbeOutcome } from "../src/probe.ts";

export interface TestProbeContext extends ProbeContext {
  /** Counts by event. */
  readonly counted: Map<string, number>;
  learn(facts: Partial<EnvelopeFacts>): void;
}

export function probeContext(test: TestContext, change: Partial<ProbeContext> = {}): TestProbeContext {
  const http = createHttpClient({ loopback: true });
  atEnd(test, () => http[Symbol.dispose]());
  const counted = new Map<string, number>();
  let facts = NO_FACTS;
  return {
    gateway: { az: "az-a", fleet: "payments", gateway: "mac-a1" },
    clock: systemClock,
    random: Math.random,
    http,
    openHttp: (tls) => createHttpClient({ loopback: true, tls }),
    log: silentLogger,
    facts: () => facts,
    count: (what, by) => void counted.set(what, (counted.get(what) ?? 0) + by),
    counted,
    learn: (more) => {
      facts = { ...facts, ...more };
    },
    ...change,
  };
}

export interface TestProbe {
  /** One reading of a 5 s period that ends at `at` (default: now). */
  read(at?: number): Promise<ProbeOutcome>;
}

/** Opens a probe with these settings, and closes it after the test. */
export function openProbe(
  test: TestContext,
  probe: Probe,
  settings: object,
  context: ProbeContext = probeContext(test),
): TestProbe {
  const opened: OpenProbe = probe.open(probe.configSchema.parse(settings), context);
  atEnd(test, () => opened[Symbol.asyncDispose]());
  const signal = new AbortController().signal;
  return { read: (at = systemClock.now()) => opened.read({ atMs: at, periodMs: 5_000 }, signal) };
}
