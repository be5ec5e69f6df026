/**
 * Every request is accounted for: a record covers all requests that were reported in time for its window, its account equals the
 * sum of its cells, and a complete window excludes at most 5%.
 */
import { START_MS } from "../kernel.ts";
import { type Arrived, arrivedSignals, TOO_FAR_AHEAD_MS } from "./absence.ts";
import { type InvariantCheck, type PublishedVerdict, seconds } from "./check.ts";

interface Account {
  readonly slice: string;
  readonly seen: number;
  readonly merged: number;
  readonly excluded: Readonly<Record<string, number>>;
}

interface Closed {
  readonly window: { readonly start: string; readonly end: string };
  readonly complete: boolean;
  readonly accounts: readonly Account[];
  readonly cells: readonly { readonly slice: string; readonly slots: readonly { readonly requests: number }[] }[];
}

export const everyRequestIsAccountedFor: InvariantCheck = (checked) => {
  const { plan, policy } = checked.finished;
  const arrived = arrivedSignals(checked);
  const sliceOf = new Map(plan.gateways.map(({ name, slice }) => [name, slice as string]));
  const seen = new Set<string>();
  for (const verdict of checked.verdicts) {
    const closed = closedOf(verdict);
    if (closed === null || seen.has(closed.window.start)) continue;
    seen.add(closed.window.start);
    const what = fault(closed, arrived, sliceOf, Date.parse(closed.window.end) + policy.graceMs);
    if (what === undefined) continue;
    const atMs = Date.parse(closed.window.end) - START_MS;
    return { invariant: "accounts", what: `in the window that ends at ${seconds(atMs)}, ${what}`, atMs };
  }
  return undefined;
};

const closedOf = ({ text }: PublishedVerdict): Closed | null =>
  (JSON.parse(text) as { evidence: { closed: Closed | null } }).evidence.closed;

function fault(
  { window, complete, accounts, cells }: Closed,
  arrived: readonly Arrived[],
  sliceOf: ReadonlyMap<string, string>,
  closedMs: number,
): string | undefined {
  const startMs = Date.parse(window.start);
  const endMs = Date.parse(window.end);
  for (const slice of new Set(sliceOf.values())) {
    const account = accounts.find((one) => one.slice === slice) ?? { seen: 0, merged: 0, excluded: {} };
    const excluded = Object.values(account.excluded).reduce((sum, count) => sum + count, 0);
    const inCells = cells
      .filter((cell) => cell.slice === slice)
      .flatMap(({ slots }) => slots)
      .reduce((sum, { requests }) => sum + requests, 0);
    const reported = arrived
      .filter(({ gateway, observedAtMs, storedAtMs }) => {
        // Stored before the window began, by a collector whose clock is ahead; the run may not have been open yet.
        const isInTime = storedAtMs >= startMs && storedAtMs <= closedMs;
        const isInside = observedAtMs >= startMs && observedAtMs < endMs && isInTime;
        return isInside && sliceOf.get(gateway) === slice && observedAtMs - storedAtMs <= TOO_FAR_AHEAD_MS;
      })
      .reduce((sum, { signal }) => sum + (signal.kind === "http" ? signal.body.requests : 0), 0);
    if (account.seen !== account.merged + excluded)
      return `${slice} counts ${account.seen} requests: ${account.merged} merged and ${excluded} excluded`;
    if (account.merged !== inCells) return `the account of ${slice} has ${account.merged} merged requests, its cells ${inCells}`;
    if (account.seen < reported) return `${slice} reported ${reported} requests, of which ${account.seen} are accounted for`;
    if (complete && excluded > 0.05 * account.seen)
      return `${excluded} of ${account.seen} requests of ${slice} are excluded, and it is complete`;
  }
  return undefined;
}
