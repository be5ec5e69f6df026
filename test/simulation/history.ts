/** What happened in one simulation, seen from outside: by the broker, by the gateways' own truth, and by whoever asks the shim. The checkers read only this. */
import type { Signal } from "@aviary/shared/contract/signal.ts";

/** A message that the broker stored. */
export interface StoredRecord {
  /** Place among everything that the broker did, over all streams and buckets. */
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

/** A value that was put into a bucket. */
export interface PutRecord {
  readonly order: number;
  readonly atMs: number;
  readonly node: string;
  readonly bucket: string;
  readonly key: string;
  readonly value: string | Uint8Array;
}

/** A write that an evaluator began, and who held the lease at the broker just then. */
export interface Begun {
  readonly atMs: number;
  /** What the evaluator calls itself in the lease. */
  readonly holder: string;
  /** Subject of the message, or bucket and key. */
  readonly what: string;
  readonly leaseHolder: string;
}

/** A signal as its collector made it, whether or not it ever arrived. */
export interface Emitted {
  readonly signal: Signal;
  readonly gateway: string;
  /** When it was made, milliseconds since the beginning. */
  readonly madeAtMs: number;
  /** What its collector's clock said, milliseconds since the epoch. */
  readonly observedAtMs: number;
}

/** Everything the shim says about the canary at one instant, in every dialect. */
export interface Sample {
  readonly atMs: number;
  /** How far the shim's wall clock was from the broker's. */
  readonly wallOffsetMs: number;
  readonly json: Readonly<Record<string, string>>;
  /** Values of the Prometheus dialect by caller class. */
  readonly prometheus: Readonly<Record<string, string>>;
  /** Gates: may it go on, and with which words. */
  readonly gates: Readonly<Record<string, { readonly allowed: boolean; readonly text: string }>>;
}

export interface History {
  readonly stored: StoredRecord[];
  readonly puts: PutRecord[];
  readonly begun: Begun[];
  readonly emitted: Map<string, Emitted>;
  readonly samples: Sample[];
  /** Evaluators that gave up, and why. */
  readonly fatals: { readonly atMs: number; readonly node: string; readonly error: unknown }[];
  /** Ends of lives, in good order or not; milliseconds since the beginning. */
  readonly deaths: { readonly atMs: number; readonly node: string }[];
  /** Lines for people; filled only when asked for. */
  readonly trace: string[] | undefined;
  /** What befell this world, counted: a simulation in which nothing happens proves nothing. */
  readonly counts: Map<string, number>;
  order: number;
  /** Who holds the evaluators' lease at the broker; empty: nobody. */
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
    deaths: [],
    trace: traced ? [] : undefined,
    counts: new Map(),
    order: 0,
    leaseHolder: "",
  };
}

export function count(history: History, what: string): void {
  history.counts.set(what, (history.counts.get(what) ?? 0) + 1);
}
