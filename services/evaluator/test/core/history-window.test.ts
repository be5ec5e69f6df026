/** The part of a closed window that is kept for the next run's reference. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ClosedWindow, WindowSummary } from "@aviary/shared/contract/window.ts";
import { closedWindowSchema } from "@aviary/shared/contract/window.ts";
import * as histogram from "@aviary/shared/histogram.ts";
import { historyWindow, MAX_HISTORY_BUCKETS } from "../../src/core/history-window.ts";
import { cell, closed, evenly } from "./judge/windows.ts";

/** Latencies from 10 ms to 1 s times a factor, one in each bucket of half a percent. */
function wide(az: string, slice: "canary" | "stable", factor = 1): WindowSummary {
  return cell({
    slice,
    az,
    requests: evenly(2_000),
    errors: [1, 0, 2, 0, 0],
    latency: (_, n) => Array.from({ length: n }, (_, k) => [factor * 10 * 100 ** (k / n), 1] as const),
  });
}

const merged = (window: ClosedWindow, az?: string) => {
  const all = histogram.create();
  for (const { az: own, slots } of window.cells)
    if (az === undefined || az === own) for (const { latency } of slots) histogram.mergeSparse(all, latency);
  return all;
};
const buckets = ({ cells }: ClosedWindow) =>
  cells.flatMap(({ slots }) => slots).reduce((sum, { latency }) => sum + latency.pairs.length / 2, 0);

describe("a window kept for the next reference", () => {
  const window = closed(3, [wide("az-a", "stable"), wide("az-b", "stable", 5), wide("az-a", "canary")]);

  it("keeps the counts of each AZ, and of the canary only while it is healthy", () => {
    assert.deepEqual(
      historyWindow(window, true).cells.map(({ slice, az }) => [slice, az]),
      [
        ["stable", "az-a"],
        ["stable", "az-b"],
        ["canary", "az-a"],
      ],
    );
    const kept = historyWindow(window, false);
    assert.deepEqual(
      kept.cells.map(({ slice, az, slots }) => [slice, az, slots.map(({ requests, errors_5xx }) => [requests, errors_5xx])]),
      window.cells
        .slice(0, 2)
        .map(({ slice, az, slots }) => [slice, az, slots.map(({ requests, errors_5xx }) => [requests, errors_5xx])]),
    );
  });

  it("keeps every 85th to 100th percentile, of each AZ and of the slice, with far fewer buckets", () => {
    const [before, kept] = [closed(3, window.cells.slice(0, 2)), historyWindow(window, false)];
    for (const az of [undefined, "az-a", "az-b"]) {
      assert.equal(histogram.count(merged(kept, az)), histogram.count(merged(before, az)));
      for (const q of [0.85, 0.9, 0.99, 1])
        assert.equal(histogram.quantile(merged(kept, az), q), histogram.quantile(merged(before, az), q), `${az} ${q}`);
    }
    assert.ok(buckets(kept) < buckets(before) / 2, `${buckets(kept)} of ${buckets(before)}`);
    closedWindowSchema.parse(kept);
  });

  it("has a limited number of buckets with any number of AZs", () => {
    const many = closed(
      3,
      Array.from({ length: 40 }, (_, k) => wide(`az-${k}`, "stable", 1 + k / 10)),
    );
    const kept = historyWindow(many, false);
    assert.ok(buckets(many) > 10 * MAX_HISTORY_BUCKETS && buckets(kept) < 3 * MAX_HISTORY_BUCKETS, `${buckets(kept)}`);
    assert.equal(histogram.count(merged(kept)), histogram.count(merged(many)));
    closedWindowSchema.parse(kept);
  });
});
