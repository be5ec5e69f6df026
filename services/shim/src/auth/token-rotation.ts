/**
 * Rules for rotating a token without rejecting a valid caller. Pure.
 *
 * The new token is added under the same id, and the previous entry gets `notAfter`. Both are accepted until then.
 * The overlap must cover a controller's next checks and the time that a cluster needs to propagate a changed secret.
 * Each id has at most one previous token.
 * To revoke immediately, remove the entry or set `notAfter` in the past. A `notAfter` in the near future could be a mistake and is rejected.
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
  /** The longest polling interval of any controller that uses these tokens. */
  readonly intervalMs: number;
  /** The entries before this change, if known. Without them an overlap near its end looks the same as one that is too short. */
  readonly previousEntries?: readonly TokenEntry[];
}

/**
 * Returns the problems of a token file that its schema cannot express: a repeated hash, one id for two caller classes,
 * a second rotation inside the overlap, a previous token without an end, an overlap below the minimum.
 */
export function checkTokenFile(check: TokenFileCheck): ConfigProblem[] {
  const { source, entries, nowMs: now, previousEntries: before } = check;
  const problems: ConfigProblem[] = [];
  const report = (index: number, key: string, found: string, expected: string): void => {
    problems.push({ source, path: `[${index}].${key}`, found, expected });
  };
  const isLive = (entry: TokenEntry): boolean => entry.notAfter === undefined || entry.notAfter > now;
  const hashes = new Map<string, number>();
  const byId = new Map<string, { index: number; entry: TokenEntry }[]>();

  for (const [index, entry] of entries.entries()) {
    const twin = hashes.get(entry.sha256);
    if (twin !== undefined) report(index, "sha256", `the hash of entry [${twin}] again`, "a different token for each entry");
    hashes.set(entry.sha256, index);
    if (isLive(entry)) byId.set(entry.id, [...(byId.get(entry.id) ?? []), { index, entry }]);
  }
  for (const [id, live] of byId) {
    const [first, second, third] = live;
    if (first === undefined || second === undefined) continue;
    if (second.entry.caller !== first.entry.caller) {
      report(
        second.index,
        "caller",
        `${second.entry.caller} for an id that is ${first.entry.caller} already`,
        "one caller class per id",
      );
    }
    if (third !== undefined) {
      report(
        third.index,
        "id",
        `a third token of ${id} that is still accepted`,
        "at most a current and a previous one; revoke one to rotate again",
      );
    } else if (live.every(({ entry }) => entry.notAfter === undefined)) {
      report(first.index, "notAfter", `two tokens of ${id} without an end`, "notAfter on the previous one");
    }
  }
  if (before === undefined) return problems;

  const earlier = new Map(before.map((entry) => [entry.sha256, entry]));
  const minimumMs = minimumOverlapMs(check.intervalMs);
  for (const [index, entry] of entries.entries()) {
    const { notAfter, sha256 } = entry;
    const old = earlier.get(sha256);
    if (old === undefined || notAfter === undefined || notAfter >= (old.notAfter ?? Number.POSITIVE_INFINITY)) continue;
    if (isLive(entry) && notAfter - now < minimumMs) {
      const least = new Date(now + minimumMs).toISOString();
      report(
        index,
        "notAfter",
        `an overlap of ${Math.round((notAfter - now) / 1000)} s`,
        `${least} or later; to revoke immediately, remove the entry`,
      );
    }
  }
  return problems;
}
