/** The evaluator's lease, as its holder and its observers must agree on it. */

/** Key of the evaluator's lease in the bucket `lease`. */
export const EVALUATOR_LEASE_KEY = "evaluator";

/** A lease whose revision has not moved for this long has no holder, milliseconds on the observer's own clock. */
export const LEASE_STALE_MS = 15_000;
