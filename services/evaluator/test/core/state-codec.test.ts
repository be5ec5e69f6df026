/** A checkpoint and a verdict that an earlier version wrote from the log of a recorded case. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { parseVerdictRecord } from "@aviary/shared/contract/verdict.ts";
import { openConfig } from "../../src/commands/open-config.ts";
import { decodeCheckpoint, encodeCheckpoint } from "../../src/core/checkpoint.ts";
import type { Effect } from "../../src/core/effects.ts";
import { reduce } from "../../src/core/reducer.ts";
import type { State } from "../../src/core/state.ts";
import { createInputReader } from "../../src/io/inputs.ts";
import { caseInput, readRecording } from "../../src/recording/case-folder.ts";

const CASE = fileURLToPath(new URL("../../../../test/cases/environment-in-one-az/", import.meta.url));
const stored = gunzipSync(readFileSync(`${CASE}checkpoint.json.gz`)).toString();
/** The files are those that the checkpoint was written under; later versions hash more settings. */
const config = { ...(await openConfig(`${CASE}aviary.yaml`)), policyHash: JSON.parse(stored).policy_hash };
const KEY = "prod/payments-gateway";

/** The effects of the recorded log after `sequence`; earlier messages change nothing. */
async function effectsAfter(state: State, sequence: number): Promise<Effect[]> {
  const readInput = createInputReader();
  const effects: Effect[] = [];
  for await (const messages of readRecording(caseInput(CASE))) {
    for (const message of messages) {
      const reduced = reduce(state, readInput(message)).effects;
      if (message.sequence > sequence) effects.push(...reduced);
    }
  }
  return effects;
}

/** The paths of values in `expected` that `actual` lacks or has changed; fields that only `actual` has are new. */
function missingFrom(actual: unknown, expected: unknown, path: string): string[] {
  if (typeof expected !== "object" || expected === null) return Object.is(actual, expected) ? [] : [path];
  if (typeof actual !== "object" || actual === null) return [path];
  return Object.entries(expected).flatMap(([key, value]) =>
    missingFrom((actual as Record<string, unknown>)[key], value, `${path}.${key}`),
  );
}

describe("a checkpoint of an earlier version", () => {
  it("is restored with the current names", () => {
    const canary = decodeCheckpoint(stored, config)!.canaries.get(KEY)!;
    assert.deepEqual(canary.emittedIncidentIds, ["baf724ac88de9687"]);
    assert.match(canary.lastFingerprint, /^\["hold",\[\["environment",/);
    assert.equal(canary.grid?.lengthMs, 10_000);
    assert.equal(canary.reconciledAtMs, 1795276716055);
    assert.equal(canary.run?.restored, false);
    assert.equal(canary.run.releaseBefore?.gateway_version, "2026.9.7");
    assert.equal(canary.rollbackRelease?.gateway_version, "2026.9.6");
  });

  it("keeps an ended failure, and reads a weight of 0 as unknown, because it stood for an unknown weight too", () => {
    const file = JSON.parse(stored);
    const [[, canary]] = file.state.canaries.$map;
    canary.run.over = true;
    Object.assign(canary.run, { openedBy: "controller", weight: 0 });
    const restored = decodeCheckpoint(JSON.stringify(file), config)!.canaries.get(KEY)!;
    assert.equal(restored.run?.restored, true);
    assert.deepEqual([restored.run.weight, restored.run.attempt, restored.run.seat], [null, 1, null]);
  });

  it("is stored again with every field and value it had, under the same names, without those that were removed", () => {
    const again = JSON.parse(encodeCheckpoint(decodeCheckpoint(stored, config)!));
    const missing = missingFrom(again, JSON.parse(stored), "$").map((path) => path.split(".").at(-1));
    assert.deepEqual([...new Set(missing)], ["rolloutWeight", "lastOutcome"]);
    assert.deepEqual(missingFrom({ a: [{ b: 1 }] }, { a: [{ b: 2, c: 3 }] }, "$"), ["$.a.0.b", "$.a.0.c"]);
  });

  it("continues its run, with a verdict for each window of the log that follows", async () => {
    const restored = decodeCheckpoint(stored, config)!;
    const { sequence } = restored;
    const before = structuredClone(restored.canaries.get(KEY)!.run!);
    const verdicts = (await effectsAfter(restored, sequence)).flatMap((effect) =>
      effect.kind === "verdict" ? [effect.record.body] : [],
    );
    const windows = verdicts.flatMap(({ window }) => (window === null ? [] : [window.index]));
    assert.ok(windows.length >= 2, `windows ${windows}`);
    assert.deepEqual(
      [...new Set(windows)],
      Array.from({ length: new Set(windows).size }, (_, k) => windows[0]! + k),
    );
    assert.deepEqual([...new Set(verdicts.map(({ run }) => run?.id))], [before.id]);
  });
});

describe("a verdict record of an earlier version", () => {
  it("is parsed with all its fields and values", () => {
    const record = JSON.parse(readFileSync(`${CASE}verdict.json`, "utf8"));
    const parsed = parseVerdictRecord(record);
    assert.ok(parsed.success);
    assert.deepEqual(missingFrom(parsed.data, record, "$"), []);
    assert.deepEqual([parsed.data.body.run?.attempt, parsed.data.revisions], [1, []]);
  });
});
