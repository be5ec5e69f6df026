/** Only the leader writes, a running collector loses no signal, and no evaluator exits with an error. */
import { START_MS } from "../kernel.ts";
import { collectorOf } from "../plan.ts";
import type { InvariantCheck } from "./check.ts";
import { seconds } from "./check.ts";

export const onlyTheLeaderPerforms: InvariantCheck = ({ finished }) => {
  const intruder = finished.history.begun.find(({ holder, leaseHolder }) => holder !== leaseHolder);
  if (intruder === undefined) return undefined;
  const atMs = intruder.atMs - START_MS;
  const holder = intruder.leaseHolder === "" ? "no replica" : intruder.leaseHolder;
  return {
    invariant: "lease",
    what: `${intruder.holder} writes ${intruder.what} at ${seconds(atMs)} while ${holder} holds the lease`,
    atMs,
  };
};

export const nothingFalls: InvariantCheck = ({ finished }) => {
  const failed = finished.history.fatals.find(({ node }) => node.startsWith("evaluator"));
  if (failed === undefined) return undefined;
  return { invariant: "crash", what: `${failed.node} exited with an error: ${failed.error}`, atMs: failed.atMs };
};

/** Signals of a collector's last moments may still be in flight. */
const LAST_MOMENTS_MS = 3_000;

export const collectorsLoseNothing: InvariantCheck = ({ finished }) => {
  const { history, silentMs, plan } = finished;
  const stored = new Set(history.stored.filter(({ stream }) => stream === "INPUTS").map(({ id }) => id));
  for (const { name } of plan.gateways) {
    const exited = history.exits.some(({ node, atMs }) => node === collectorOf(name) && atMs < silentMs);
    // The disk is not used for ten seconds after an error, which may be all that is left.
    const diskFailed = plan.infrastructureFaults.some(
      (fault) => fault.kind === "broken-disk" && fault.node === collectorOf(name) && fault.atMs + fault.forMs > silentMs - 20_000,
    );
    if (exited || diskFailed) continue;
    for (const { signal, gateway, madeAtMs } of history.emitted.values()) {
      if (gateway !== name || stored.has(signal.id) || madeAtMs > silentMs - LAST_MOMENTS_MS) continue;
      const what = `the collector of ${name} ran all the time and lost signal ${signal.seq} (${signal.kind}, made at ${seconds(madeAtMs)})`;
      return { invariant: "spool", what, atMs: madeAtMs };
    }
  }
  return undefined;
};
