import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createCallerRoles, ROLE_TIMEOUT_MS } from "../../src/auth/caller-roles.ts";
import { createBuckets } from "../../src/limits.ts";

describe("the roles of a canary", () => {
  it("the first class holds its role; a second one conflicts until the holder has made no call for a minute", () => {
    const roles = createCallerRoles();
    assert.equal(roles.claim("prod/gw", "judge", "flagger", 0), undefined);
    assert.equal(roles.claim("prod/gw", "judge", "rollouts", 10_000), "flagger");
    assert.equal(roles.claim("prod/gw", "judge", "flagger", 20_000), undefined, "the holder itself never conflicts");
    assert.equal(roles.claim("prod/gw", "judge", "rollouts", 20_000 + ROLE_TIMEOUT_MS - 1), "flagger");
    assert.equal(roles.claim("prod/gw", "judge", "rollouts", 20_000 + ROLE_TIMEOUT_MS), undefined);
    assert.equal(roles.claim("prod/gw", "judge", "flagger", 20_001 + ROLE_TIMEOUT_MS), "rollouts");
  });

  it("operators never conflict and never hold a role", () => {
    const roles = createCallerRoles();
    assert.equal(roles.claim("prod/gw", "judge", "operator", 0), undefined);
    assert.equal(roles.claim("prod/gw", "judge", "flagger", 1), undefined);
    assert.equal(roles.claim("prod/gw", "judge", "operator", 2), undefined);
  });

  it("KEDA does not conflict with Flagger; in the judge's role it conflicts and never holds the role", () => {
    const roles = createCallerRoles();
    assert.equal(roles.claim("prod/gw", "judge", "keda", 0), undefined);
    assert.equal(roles.claim("prod/gw", "judge", "flagger", 1), undefined);
    assert.equal(roles.claim("prod/gw", "scale", "keda", 2), undefined);
    assert.equal(roles.claim("prod/gw", "judge", "keda", 3), "flagger");
  });

  it("canaries do not share roles", () => {
    const roles = createCallerRoles();
    assert.equal(roles.claim("prod/a", "judge", "flagger", 0), undefined);
    assert.equal(roles.claim("prod/b", "judge", "rollouts", 0), undefined);
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
