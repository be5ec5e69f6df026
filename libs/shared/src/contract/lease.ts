/** The evaluator's lease, as shared by its owner and its observers. */

/** Key of the evaluator's lease in the bucket `lease`. */
export const EVALUATOR_LEASE_KEY = "evaluator";

/** A lease whose revision has not changed for this long has no owner, milliseconds on the observer's own clock. */
export const LEASE_STALE_MS = 15_000;
