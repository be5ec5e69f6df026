/** The stored form of the judge's memory, against a checkpoint that an earlier version wrote. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { restoreMemory, storeMemory } from "../../../src/core/judge/memory-codec.ts";
import type { JudgeMemory } from "../../../src/core/judge/outcome.ts";

const CHECKPOINT = new URL("../../../../../test/cases/environment-in-one-az/state.json", import.meta.url);

interface Stored {
  readonly state: {
    readonly canaries: { readonly $map: readonly (readonly [string, { readonly run: { readonly memory: JudgeMemory } }])[] };
  };
}

const { state } = JSON.parse(readFileSync(CHECKPOINT, "utf8")) as Stored;
const stored = state.canaries.$map[0]![1].run.memory;

describe("the judge's memory", () => {
  it("is restored from an earlier checkpoint with full names", () => {
    const { scopes } = restoreMemory(stored) as unknown as {
      scopes: Record<string, { errors: { recent: object[]; run: object } }>;
    };
    const { recent, run } = scopes[""]!.errors;
    assert.deepEqual(recent[0], {
      requests: 71,
      bad: 0,
      badSquares: 0,
      requestSquares: 1785,
      healthyBad: 0.213,
      stableBad: 0,
      stableVariance: 0,
      comparedBad: 0,
      comparedRequests: 71,
    });
    assert.ok(Object.values(run).every(Number.isFinite));
    assert.deepEqual(
      Object.keys(run).filter((name) => name.length < 3),
      [],
    );
  });

  it("is stored as the same bytes again", () => {
    assert.equal(JSON.stringify(storeMemory(restoreMemory(stored))), JSON.stringify(stored));
  });

  it("keeps its version and parts when the version is unknown", () => {
    assert.deepEqual(restoreMemory({ v: 99, views: [1, 2] }), { version: 99, scopes: [1, 2] });
    assert.deepEqual(storeMemory({ version: 99, scopes: [1, 2] }), { v: 99, views: [1, 2] });
  });
});
