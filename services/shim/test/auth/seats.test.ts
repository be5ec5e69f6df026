import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createSeats, SEAT_TIMEOUT_MS } from "../../src/auth/seats.ts";
import { createBuckets } from "../../src/limits.ts";

describe("the seats of a canary", () => {
  it("the first class holds its seat; a second one conflicts until the holder has made no call for a minute", () => {
    const seats = createSeats();
    assert.equal(seats.claim("prod/gw", "judge", "flagger", 0), undefined);
    assert.equal(seats.claim("prod/gw", "judge", "rollouts", 10_000), "flagger");
    assert.equal(seats.claim("prod/gw", "judge", "flagger", 20_000), undefined, "the holder itself never conflicts");
    assert.equal(seats.claim("prod/gw", "judge", "rollouts", 20_000 + SEAT_TIMEOUT_MS - 1), "flagger");
    assert.equal(seats.claim("prod/gw", "judge", "rollouts", 20_000 + SEAT_TIMEOUT_MS), undefined);
    assert.equal(seats.claim("prod/gw", "judge", "flagger", 20_001 + SEAT_TIMEOUT_MS), "rollouts");
  });

  it("operators never conflict and never hold a seat", () => {
    const seats = createSeats();
    assert.equal(seats.claim("prod/gw", "judge", "operator", 0), undefined);
    assert.equal(seats.claim("prod/gw", "judge", "flagger", 1), undefined);
    assert.equal(seats.claim("prod/gw", "judge", "operator", 2), undefined);
  });

  it("KEDA beside Flagger is no conflict; on the judge's seat it conflicts and never holds it", () => {
    const seats = createSeats();
    assert.equal(seats.claim("prod/gw", "judge", "keda", 0), undefined);
    assert.equal(seats.claim("prod/gw", "judge", "flagger", 1), undefined);
    assert.equal(seats.claim("prod/gw", "scale", "keda", 2), undefined);
    assert.equal(seats.claim("prod/gw", "judge", "keda", 3), "flagger");
  });

  it("canaries do not share seats", () => {
    const seats = createSeats();
    assert.equal(seats.claim("prod/a", "judge", "flagger", 0), undefined);
    assert.equal(seats.claim("prod/b", "judge", "rollouts", 0), undefined);
  });
});

describe("buckets", () => {
  it("allow a burst per key, then what time refills", () => {
    const buckets = createBuckets(3, 1, 10);
    assert.deepEqual(
      [1, 2, 3, 4].map(() => buckets.take("a", 0)),
      [true, true, true, false],
    );
    assert.equal(buckets.take("b", 0), true);
    assert.equal(buckets.take("a", 999), false);
    assert.equal(buckets.take("a", 2_000), true);
  });

  it("keep a bounded number of keys", () => {
    const buckets = createBuckets(1, 0, 2);
    assert.equal(buckets.take("a", 0), true);
    assert.equal(buckets.take("b", 0), true);
    assert.equal(buckets.take("c", 0), true);
    assert.equal(buckets.take("b", 0), false, "b is still known");
    assert.equal(buckets.take("a", 0), true, "a was dropped");
  });
});
