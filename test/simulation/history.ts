/**
 * The history of one simulation, observed from the outside: by the broker, by the gateways' true state, and by clients of the
 * shim. The checkers read only this.
 */
import type { Signal } from "@aviary/shared/contract/signal.ts";

/** A message stored by the broker. */
export interface StoredRecord {
  /** Position among all actions of the broker, over all streams and buckets. */
  readonly order: number;
  /** Broker time, milliseconds since the epoch: the message's store time. */
  readonly atMs: number;
  readonly node: string;
  readonly stream: string;
  readonly sequence: number;
  readonly subject: string;
  readonly id: string | undefined;
  readonly data: string;
}

/** A value written to a bucket. */
export interface PutRecord {
  readonly order: number;
  readonly atMs: number;
  readonly node: string;
  readonly bucket: string;
  readonly key: string;
  readonly value: string | Uint8Array;
}

/** A write that an evaluator started, and the owner of the lease at the broker at that time. */
export interface Begun {
  readonly atMs: number;
  /** The evaluator's name in the lease. */
  readonly holder: string;
  /** Subject of the message, or bucket and key. */
  readonly what: string;
  readonly leaseHolder: string;
}

/** A signal as its collector made it, whether or not it arrived. */
export interface Emitted {
  readonly signal: Signal;
  readonly gateway: string;
  /** When it was made, milliseconds since the start. */
  readonly madeAtMs: number;
  /** The collector's clock at that time, milliseconds since the epoch. */
  readonly observedAtMs: number;
}

/** The shim's answers about the canary at one instant, in every dialect. */
export interface Sample {
  readonly atMs: number;
  /** The offset of the shim's wall clock from the broker's. */
  readonly wallOffsetMs: number;
  readonly json: Readonly<Record<string, string>>;
  /** Values of the Prometheus dialect by caller class. */
  readonly prometheus: Readonly<Record<string, string>>;
  /** Whether each gate allows, and its text. */
  readonly gates: Readonly<Record<string, { readonly allowed: boolean; readonly text: string }>>;
}

export interface History {
  readonly stored: StoredRecord[];
  readonly puts: PutRecord[];
  readonly begun: Begun[];
  readonly emitted: Map<string, Emitted>;
  readonly samples: Sample[];
  /** Evaluators that exited with an error, and why. */
  readonly fatals: { readonly atMs: number; readonly node: string; readonly error: unknown }[];
  /** Ends of processes, graceful or not; milliseconds since the start. */
  readonly exits: { readonly atMs: number; readonly node: string }[];
  /** A readable trace; recorded only on request. */
  readonly trace: string[] | undefined;
  /** Event counts, which show that the simulation exercised anything at all. */
  readonly counts: Map<string, number>;
  order: number;
  /** Owner of the evaluators' lease at the broker; empty: none. */
  leaseHolder: string;
}

export function createHistory(traced: boolean): History {
  return {
    stored: [],
    puts: [],
    begun: [],
    emitted: new Map(),
    samples: [],
    fatals: [],
    exits: [],
    trace: traced ? [] : undefined,
    counts: new Map(),
    order: 0,
    leaseHolder: "",
  };
}

export function count(history: History, what: string): void {
  history.counts.set(what, (history.counts.get(what) ?? 0) + 1);
}
