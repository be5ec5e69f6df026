/** Laws that the product is not expected to satisfy yet, each with the reason. All others are asserted in every world. */
import type { Law } from "./laws.ts";

export const EXCLUDED_LAWS: Partial<Readonly<Record<Law, string>>> = {
  "unserved-promoted":
    "a run opened by a measurement or a weight is pinned to the Macs' release at that time, and the pipeline is blocked while the run is judged",
  "healthy-late": "after an operator aborts a run, Argo Rollouts receives a hold that never ends",
  stuck: "same cause as healthy-late: that state has no way out for a bad release either",
};
