/** The link between one node and the broker, for all processes of the node. */

export interface LinkPlan {
  /** Probability that one packet is lost. */
  readonly loss: number;
  /** Probability that one packet is slow, and its maximum delay, milliseconds. */
  readonly slow: number;
  readonly slowMs: number;
  /** Probability that a write arrives twice. */
  readonly duplicate: number;
  /** Probability that the broker no longer has the id of a duplicate signal, as after its duplicate window. */
  readonly forget: number;
}

export const GOOD_LINK: LinkPlan = { loss: 0, slow: 0, slowMs: 0, duplicate: 0, forget: 0 };

export interface Link {
  readonly node: string;
  plan: LinkPlan;
  /** Known: the client detects the disconnect. Silent: it still reports a connection, and nothing arrives. */
  cut: "none" | "known" | "silent";
  readonly onChange: Set<() => void>;
}

export function createLink(node: string, plan: LinkPlan): Link {
  return { node, plan, cut: "none", onChange: new Set() };
}
