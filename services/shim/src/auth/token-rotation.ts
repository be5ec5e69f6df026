/**
 * Rules for rotating a token without rejecting a valid caller. Pure.
 *
 * The new token is added under the same id, and the previous entry gets `notAfter`. Both are accepted until then.
 * The overlap must cover a controller's next checks and the time that a cluster needs to propagate a changed secret.
 * Each id has at most one previous token.
 * To revoke immediately, remove the entry or set `notAfter` in the past. A `notAfter` in the near future could be a mistake and
 * is rejected.
 */
import type { FleetFile } from "@aviary/shared/contract/fleet.ts";
import type { ConfigProblem } from "@aviary/shared/runtime/config.ts";
import type { TokenEntry } from "./tokens.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** A kubelet syncs mounted secrets once per minute, from a cache that may be another minute old. */
const KUBELET_PROPAGATION_MS = 2 * MINUTE_MS;

/** The longest interval at which any controller of the fleet uses its token; at least a minute. */
export function longestIntervalMs(fleet: FleetFile): number {
  const intervals = Object.values(fleet.canaries).flatMap(({ callers }) =>
    Object.values(callers).map((caller) => caller?.interval ?? 0),
  );
  return Math.max(MINUTE_MS, ...intervals);
}

/** The minimum overlap that is accepted: one controller interval plus five minutes. */
export function minimumOverlapMs(intervalMs: number): number {
  return intervalMs + 5 * MINUTE_MS;
}

/** The overlap that a rotation should write: seven days, or more for a controller with a long interval. */
export function rotationOverlapMs(intervalMs: number): number {
  return Math.max(7 * DAY_MS, minimumOverlapMs(intervalMs) + 2 * KUBELET_PROPAGATION_MS);
}

export interface TokenFileCheck {
  readonly source: string;
  readonly entries: readonly TokenEntry[];
  /** The moment the file was written, milliseconds since the epoch. */
  readonly nowMs: number;
  /** The entries before this change. Without them, an overlap near its end is indistinguishable from one that is too short. */
  readonly previous?: PreviousTokens;
}

export interface PreviousTokens {
  readonly entries: readonly TokenEntry[];
  /** The longest polling interval of any controller that uses these tokens. */
  readonly intervalMs: number;
}

type Report = (index: number, key: string, found: string, expected: string) => void;

/**
 * Returns the problems of a token file that its schema cannot express: a repeated hash, one id for two caller classes,
 * a second rotation inside the overlap, a previous token without an end, an overlap below the minimum.
 */
export function checkTokenFile({ source, entries, nowMs, previous }: TokenFileCheck): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const report: Report = (index, key, found, expected) => {
    problems.push({ source, path: `[${index}].${key}`, found, expected });
  };
  checkHashes(entries, report);
  checkIds(entries, nowMs, report);
  if (previous !== undefined) checkOverlaps(entries, previous, nowMs, report);
  return problems;
}

const isLive = (entry: TokenEntry, nowMs: number): boolean => entry.notAfter === undefined || entry.notAfter > nowMs;

function checkHashes(entries: readonly TokenEntry[], report: Report): void {
  const indexes = new Map<string, number>();
  for (const [index, { sha256 }] of entries.entries()) {
    const twin = indexes.get(sha256);
    if (twin !== undefined) report(index, "sha256", `the hash of entry [${twin}] again`, "a different token for each entry");
    indexes.set(sha256, index);
  }
}

/** One id is one caller, with a current and at most one previous token. */
function checkIds(entries: readonly TokenEntry[], nowMs: number, report: Report): void {
  const live = [...entries.entries()].map(([index, entry]) => ({ index, entry })).filter(({ entry }) => isLive(entry, nowMs));
  for (const [id, tokens] of Map.groupBy(live, ({ entry }) => entry.id)) {
    const [first, second, third] = tokens;
    if (first === undefined || second === undefined) continue;
    if (second.entry.caller !== first.entry.caller) {
      const found = `${second.entry.caller} for an id that is ${first.entry.caller} already`;
      report(second.index, "caller", found, "one caller class per id");
    }
    if (third !== undefined) {
      const expected = "at most a current and a previous one; revoke one to rotate again";
      report(third.index, "id", `a third token of ${id} that is still accepted`, expected);
    } else if (tokens.every(({ entry }) => entry.notAfter === undefined)) {
      report(first.index, "notAfter", `two tokens of ${id} without an end`, "notAfter on the previous one");
    }
  }
}

/** An overlap that this change shortens must leave controllers enough time to switch. */
function checkOverlaps(entries: readonly TokenEntry[], previous: PreviousTokens, nowMs: number, report: Report): void {
  const earlier = new Map(previous.entries.map((entry) => [entry.sha256, entry]));
  const minimumMs = minimumOverlapMs(previous.intervalMs);
  for (const [index, entry] of entries.entries()) {
    const { notAfter, sha256 } = entry;
    const old = earlier.get(sha256);
    if (old === undefined || notAfter === undefined || notAfter >= (old.notAfter ?? Number.POSITIVE_INFINITY)) continue;
    if (!isLive(entry, nowMs) || notAfter - nowMs >= minimumMs) continue;
    const found = `an overlap of ${Math.round((notAfter - nowMs) / 1000)} s`;
    const least = new Date(nowMs + minimumMs).toISOString();
    report(index, "notAfter", found, `${least} or later; to revoke immediately, remove the entry`);
  }
}
