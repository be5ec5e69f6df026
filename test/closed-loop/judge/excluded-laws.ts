/** Laws that the product is not expected to keep yet, each with the reason. Everything else must hold in every world. */
import type { Law } from "./laws.ts";

export const EXCLUDED_LAWS: Partial<Readonly<Record<Law, string>>> = {
  "unserved-promoted":
    "a run that a measurement or a weight opens is pinned to what the Macs run then, and the pipeline is refused while it is judged",
  "healthy-late": "after an operator aborts a run, Argo Rollouts is answered with a hold that never ends",
  stuck: "as healthy-late: the same state has no way out for a bad release either",
};
