/** A shim over a memory bus and a manual clock, and the requests that real controllers send. */

import type { Bus } from "@aviary/shared/bus/bus.ts";
import { createMemoryBus } from "@aviary/shared/bus/memory.ts";
import type { StreamName } from "@aviary/shared/bus/streams.ts";
import type { FleetFile } from "@aviary/shared/contract/fleet.ts";
import type { LaneRecord } from "@aviary/shared/contract/lane.ts";
import { verdictSubject } from "@aviary/shared/contract/subjects.ts";
import type { VerdictRecord } from "@aviary/shared/contract/verdict.ts";
import { createLogger } from "@aviary/shared/runtime/logger.ts";
import { aFleet, BUILT_AT } from "@aviary/shared/testing/builders.ts";
import { type ManualClock, manualClock } from "@aviary/shared/testing/manual-clock.ts";
import { storedMessages } from "@aviary/shared/testing/stored-messages.ts";
import { until } from "@aviary/shared/testing/until.ts";
import { createTokenStore, hashToken, type TokenEntry } from "../src/auth/tokens.ts";
import { type Shim, startShim } from "../src/service.ts";

/** One token per class. `prod-only` is restricted to the namespace prod; `expiring` is an operator's token with an end. */
export const TOKENS = {
  flagger: "token-flagger",
  rollouts: "token-rollouts",
  keda: "token-keda",
  flux: "token-flux",
  operator: "token-operator",
  "prod-only": "token-prod-only",
  expiring: "token-expiring",
} as const;
export type TokenName = keyof typeof TOKENS;

/** When the token `expiring` ends, from the harness's start. */
export const EXPIRES_AFTER_MS = 10_000;

const RESTRICTED: Readonly<Partial<Record<TokenName, Partial<TokenEntry>>>> = {
  "prod-only": { caller: "rollouts", namespaces: ["prod"] },
  expiring: { caller: "operator", notAfter: Date.parse(BUILT_AT) + EXPIRES_AFTER_MS },
};
const ENTRIES: readonly TokenEntry[] = Object.entries(TOKENS).map(([id, token]) => ({
  id,
  sha256: hashToken(token),
  caller: id as TokenEntry["caller"],
  ...RESTRICTED[id as TokenName],
}));

export interface Answered {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly body: Record<string, never> & { [key: string]: unknown };
}

export interface ShimHarness extends AsyncDisposable {
  readonly shim: Shim;
  readonly bus: Bus;
  readonly clock: ManualClock;
  /** Lines of the log, parsed. */
  readonly log: readonly Record<string, unknown>[];
  /** Publishes verdicts and waits until the shim has them. */
  publish(...records: VerdictRecord[]): Promise<void>;
  putLane(record: LaneRecord): Promise<void>;
  /** Renews the evaluator's lease, as the leader does. */
  renewLease(): Promise<void>;
  get(path: string, token?: TokenName | null, init?: RequestInit): Promise<Answered>;
  post(path: string, body: unknown, token?: TokenName | null): Promise<Answered>;
  /** All messages of a stream, parsed, with their subjects. */
  stored(stream: StreamName): Promise<{ subject: string; value: Record<string, unknown> }[]>;
}

export interface HarnessOptions {
  readonly fleet?: FleetFile;
  readonly verdicts?: readonly VerdictRecord[];
  /** If false, no evaluator has ever run. */
  readonly lease?: boolean;
  readonly bus?: (bus: Bus) => Bus;
  readonly timeouts?: { readonly headersMs: number; readonly requestMs: number };
}

/** Starts a harness; dispose of it with `await harness[Symbol.asyncDispose]()`. */
export async function startHarness(options: HarnessOptions = {}): Promise<ShimHarness> {
  const clock = manualClock(Date.parse(BUILT_AT));
  const memory = createMemoryBus({ clock });
  const bus = options.bus?.(memory) ?? memory;
  const log: Record<string, unknown>[] = [];
  const logger = createLogger({ service: "shim", clock, write: (line) => void log.push(JSON.parse(line)) });
  const store = createTokenStore(ENTRIES);
  const tokens = {
    authenticate: (request: Parameters<typeof store.authenticate>[0]) => store.authenticate(request, clock.now()),
  };
  const lease = await memory.bucket("lease");
  const renewLease = async (): Promise<void> => void (await lease.put("evaluator", `leader at ${clock.monotonicMs()}`));
  if (options.lease !== false) await renewLease();
  const shim = await startShim({
    bus,
    fleet: options.fleet ?? aFleet(),
    tokens,
    port: 0,
    clock,
    logger,
    ...(options.timeouts === undefined ? {} : { timeouts: options.timeouts }),
  });
  await until("the shim has read everything", () => shim.notReady() === undefined);

  const get: ShimHarness["get"] = async (path, token = "operator", init = {}) => {
    const headers = new Headers(init.headers);
    if (token !== null) headers.set("authorization", `Bearer ${TOKENS[token]}`);
    const response = await fetch(shim.url + path, { ...init, headers, redirect: "manual" });
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, body: parse(text) };
  };
  const harness: ShimHarness = {
    shim,
    bus,
    clock,
    log,
    renewLease,
    get,
    post: (path, body, token = "flagger") =>
      get(path, token, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: typeof body === "string" ? body : JSON.stringify(body),
      }),
    async publish(...records) {
      for (const record of records) {
        const { body } = record;
        await memory.publish({ subject: verdictSubject(body.subject), data: JSON.stringify(record) });
        await until("the shim has the verdict", async () => {
          const path = `/api/v1/canaries/${body.subject.namespace}/${body.subject.name}`;
          return (await get(path)).body.id === body.id;
        });
      }
    },
    async putLane(record) {
      await (await memory.bucket("lane")).put(record.lane, JSON.stringify(record));
    },
    async stored(stream) {
      const messages = await storedMessages(memory, stream);
      return messages.map(({ subject, data }) => ({ subject, value: JSON.parse(Buffer.from(data).toString()) }));
    },
    async [Symbol.asyncDispose]() {
      const closing = shim[Symbol.asyncDispose]();
      // Remaining connections are closed after a delay, which this clock never reaches by itself.
      clock.advance(5_000);
      await closing;
      await memory[Symbol.asyncDispose]();
    },
  };
  await harness.publish(...(options.verdicts ?? []));
  return harness;
}

function parse(text: string): Answered["body"] {
  try {
    return JSON.parse(text);
  } catch {
    return {} as Answered["body"];
  }
}

/** The body that Flagger posts to a gate or to the event hook. */
export function flaggerBody(change: Record<string, unknown> = {}): Record<string, unknown> {
  return { name: "payments-gateway", namespace: "prod", phase: "Progressing", checksum: "555b75665", ...change };
}
