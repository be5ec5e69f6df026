/**
 * A few dozen worlds that violate no law, and in which the model itself is sound. `npm run closed-loop` runs
 * more.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { exceededLimits, LIMITED_WORLDS } from "./judge/limits.ts";
import { runWorlds } from "./pool.ts";
import { failingWorlds, storyOf, totalsOf } from "./report.ts";
import { THEMES } from "./world/themes.ts";

const WORLDS = LIMITED_WORLDS.any;

/** What must occur at least once; otherwise the laws are not exercised. */
const CONTENTS = [
  ...["flagger", "rollouts", "none"].map((kind) => `controller ${kind}`),
  ...["none", "slow-start", "errors", "late-errors", "one-az", "leak", "crash-loop", "slow", "grey", "fills-disk"].map(
    (fault) => `release ${fault}`,
  ),
  ...["incident", "reboot", "cut", "collector-down", "probe-gone", "log-rotated", "disk-fills", "maintenance"].map(
    (kind) => `fault ${kind}`,
  ),
  ...["evaluator-down", "shim-down", "broker-down", "controller-down", "left-over-analysis", "eager-pipeline"].map(
    (kind) => `fault ${kind}`,
  ),
];

test("no world violates a law", async () => {
  const results = await runWorlds({ from: 0, worlds: WORLDS, threads: 2, advisors: ["aviary"] });
  const failing = failingWorlds(results);
  if (failing[0] !== undefined)
    assert.fail(`${failing.length} of ${WORLDS} worlds violate a law\n${await storyOf(failing[0].seed)}`);
  assert.equal(results.length, WORLDS);
  assert.deepEqual(exceededLimits("any", totalsOf(results).get("aviary")!), []);
  const seen = new Set(results.flatMap(({ contents }) => contents));
  assert.deepEqual(
    CONTENTS.filter((what) => !seen.has(what)),
    [],
  );
});

test("the damage stays within its limits in the worlds of every theme", async () => {
  for (const theme of THEMES.slice(1)) {
    const results = await runWorlds({ from: 0, worlds: LIMITED_WORLDS[theme], threads: 2, advisors: ["aviary"], theme });
    assert.deepEqual(exceededLimits(theme, totalsOf(results).get("aviary")!), []);
    const failing = failingWorlds(results);
    if (failing[0] !== undefined) assert.fail(await storyOf(failing[0].seed, "aviary", theme));
  }
});

test("in the same worlds, the oracle promotes healthy releases only, and always-yes promotes bad ones too", async () => {
  const results = await runWorlds({ from: 0, worlds: 40, threads: 2, advisors: ["oracle", "always-yes", "always-hold"] });
  const totals = totalsOf(results);
  const [oracle, yes, hold] = [totals.get("oracle")!, totals.get("always-yes")!, totals.get("always-hold")!];
  assert.ok(oracle.bad >= 20 && oracle.healthy >= 20, "the worlds contain releases of both kinds");
  assert.equal(oracle.badPromoted, 0);
  assert.equal(oracle.badWidened, 0);
  assert.equal(oracle.healthyRolledBack, 0);
  assert.ok(oracle.healthyPromoted >= 0.95 * oracle.healthy);
  assert.ok(yes.badPromoted >= 0.95 * yes.bad);
  assert.equal(hold.badPromoted + hold.healthyPromoted, 0);
  assert.ok(oracle.badOnTrialAfterKnown < yes.badOnTrialAfterKnown && yes.badOnTrialAfterKnown < hold.badOnTrialAfterKnown);
  const lawOfYes = new Set(results.flatMap(({ advisor, violations }) => (advisor === "always-yes" ? violations : [])));
  assert.ok([...lawOfYes].some(({ law }) => law === "bad-promoted"));
});

test("a seed determines one story", async () => {
  for (const seed of [1, 7, 22]) {
    const story = await storyOf(seed);
    assert.ok(story.split("\n").length > 15);
    assert.equal(await storyOf(seed), story);
  }
});
