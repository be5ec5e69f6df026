/** What a controller reports outside its measurements and gates: it is acknowledged once it is stored. */
import type { CanaryLookup } from "../request/canary-lookup.ts";
import { type CallOrigin, senderOf, storedRuns } from "../response/canary-answer.ts";
import { plainText, type Reply } from "../response/reply.ts";
import { mayChangeRun, type StoredRuns } from "../response/standing.ts";
import type { Call, ShimContext } from "../route.ts";
import type { ControlDraft, ControlSender } from "./control-drafts.ts";

export interface Report {
  readonly call: Call;
  readonly found: CanaryLookup;
  readonly origin: CallOrigin;
  /** The control messages that the report amounts to. */
  readonly draftsOf: (runs: StoredRuns, sender: ControlSender) => ControlDraft[];
}

/** Stores a report. A controller may report everything in its cluster, so a canary that is not configured is ignored. */
export async function storeReport({ call, found, origin, draftsOf }: Report, context: ShimContext): Promise<Reply> {
  const { canary } = found;
  if (canary === undefined) return plainText(200, `ignored: ${found.text}`);
  const { caller } = call;
  const runs = storedRuns(canary, context);
  if (caller.class !== "operator" && !mayChangeRun(caller.class, canary.entry.judge, runs.run))
    return plainText(200, "ignored: another controller judges this canary");
  const stored = await context.controlWriter.store(canary, draftsOf(runs, senderOf(caller, canary, origin, context)));
  if (stored === "over_limit") return plainText(403, "too many events for one canary");
  return stored === "stored"
    ? plainText(200, "stored")
    : plainText(503, "not stored yet: the broker did not respond; the event is kept and stored later");
}
