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
import { readCaseState } from "../../src/recording/read-case.ts";

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
    assert.equal(canary.gateBeforeRun, null);
    assert.equal(canary.run?.restored, false);
    assert.equal(canary.run.releaseBefore?.gateway_version, "2026.9.7");
    assert.equal(canary.rollbackRelease?.gateway_version, "2026.9.6");
  });

  it("keeps an ended failure, and a gate that was called before the run", () => {
    const file = JSON.parse(stored);
    const [[, canary]] = file.state.canaries.$map;
    canary.run.over = true;
    canary.askedBefore = { gated: true, confirmed: false };
    const restored = decodeCheckpoint(JSON.stringify(file), config)!.canaries.get(KEY)!;
    assert.equal(restored.run?.restored, true);
    assert.deepEqual(restored.gateBeforeRun, { gated: true, confirmed: false });
  });

  it("is stored again with every field and value it had, under the same names", () => {
    const again = JSON.parse(encodeCheckpoint(decodeCheckpoint(stored, config)!));
    assert.deepEqual(missingFrom(again, JSON.parse(stored), "$"), []);
    assert.deepEqual(missingFrom({ a: [{ b: 1 }] }, { a: [{ b: 2, c: 3 }] }, "$"), ["$.a.0.b", "$.a.0.c"]);
  });

  it("continues with an incomplete window, because it has no accounts, and then with the verdicts of an uninterrupted reduction", async () => {
    const restored = decodeCheckpoint(stored, config)!;
    const { sequence } = restored;
    const uninterrupted = windowVerdicts(await effectsAfter((await readCaseState(CASE, config))!, sequence));
    const continued = windowVerdicts(await effectsAfter(restored, sequence));
    assert.deepEqual(continued[0]?.gaps.length, 6);
    assert.ok(continued.length > 2);
    assert.deepEqual(continued.slice(1), uninterrupted.slice(1));
  });
});

/** One line per closed window: its first verdict. */
function windowVerdicts(effects: readonly Effect[]) {
  const lines = new Map<number, { verdict: string; codes: string[]; gaps: readonly string[] }>();
  for (const effect of effects) {
    if (effect.kind !== "verdict") continue;
    const { body, evidence } = effect.record;
    const index = body.window?.index ?? -1;
    if (evidence.closed === null || lines.has(index)) continue;
    lines.set(index, { verdict: body.verdict, codes: body.reasons.map(({ code }) => code), gaps: evidence.closed.gaps });
  }
  return [...lines.values()];
}

describe("a verdict record of an earlier version", () => {
  it("is parsed unchanged", () => {
    const record = JSON.parse(readFileSync(`${CASE}verdict.json`, "utf8"));
    const parsed = parseVerdictRecord(record);
    assert.ok(parsed.success);
    assert.deepEqual(parsed.data, record);
  });
});
