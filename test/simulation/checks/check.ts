/** A checker reads one finished simulation and returns a violation as one sentence, or undefined. */
import type { Product } from "../product.ts";
import type { ReplayResult } from "../replay-result.ts";
import type { Finished } from "../world.ts";

export interface Case {
  readonly product: Product;
  readonly finished: Finished;
  readonly replayed: ReplayResult;
  /** The parsed bodies of the published verdicts, in the order of the stream. */
  readonly verdicts: readonly PublishedVerdict[];
}

/** A published verdict, as read without the product's code. */
export interface PublishedVerdict {
  readonly atMs: number;
  /** When the broker stored it, milliseconds since the epoch. */
  readonly storedAtMs: number;
  readonly node: string;
  readonly text: string;
  readonly body: PublishedBody;
}

/** The part of a verdict's body that the checkers read. */
export interface PublishedBody {
  readonly id: string;
  readonly at: string;
  readonly verdict: "pass" | "hold" | "fail";
  readonly valid_until: string;
  readonly reasons: readonly { readonly code: string; readonly text: string }[];
  /** While a fail is latched: what is wrong with the canary now. */
  readonly current?: readonly { readonly code: string }[];
  readonly canary: Figures;
  readonly stable: Figures | null;
  readonly window: { readonly start: string; readonly end: string; readonly index: number } | null;
  readonly run: {
    readonly id: string;
    readonly state: string;
    readonly since: string;
    readonly weight: number | null;
    readonly granted: boolean;
    readonly attempt: number;
    readonly canary_active: boolean;
    readonly promotable: boolean;
    readonly gated: boolean;
    readonly mac_release_ok: boolean;
    readonly latched_by: string | null;
    readonly controller_revision: string | null;
  } | null;
}

interface Figures {
  readonly requests: number;
  readonly errors_5xx: number;
  readonly "5xx_rate": number | null;
  readonly p99_ms: number | null;
}

export interface Violation {
  /** Number of the invariant in ARCHITECTURE.md, or another property. */
  readonly invariant: string;
  /** One sentence. */
  readonly what: string;
  /** When, milliseconds since the start. */
  readonly atMs: number;
}

export type InvariantCheck = (checked: Case) => Violation | undefined;

/** `12.3 s` since the start. */
export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
