/**
 * Every folder here is a recorded log segment that must yield the same verdicts: `aviary record` creates one, and its note
 * explains why it is kept.
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { loadFleet } from "@aviary/shared/runtime/fleet-config.ts";
import { resolveConfig } from "../../services/evaluator/src/core/resolved-config.ts";
import { createState } from "../../services/evaluator/src/core/state.ts";
import { CASE_FILES, caseInput, readRecording } from "../../services/evaluator/src/recording/case-folder.ts";
import { expectedLine, readCaseState, readExpected } from "../../services/evaluator/src/recording/read-case.ts";
import { createReplay } from "../../services/evaluator/src/recording/replay.ts";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const CASES = readdirSync(HERE, { withFileTypes: true }).filter((entry) => entry.isDirectory());

test("at least one case exists", () => {
  assert.ok(CASES.length > 0);
});

for (const { name } of CASES) {
  test(`${name} yields its recorded verdicts`, async () => {
    const folder = join(HERE, name);
    const note = await readFile(join(folder, CASE_FILES.note), "utf8");
    assert.ok(note.trim().length > 40, `${name}/${CASE_FILES.note} must explain why the case is kept`);
    const { fleet, policies, policyHash } = await loadFleet(join(folder, CASE_FILES.fleet));
    const config = resolveConfig(fleet, policies, policyHash);
    const replay = createReplay(config, (await readCaseState(folder, config)) ?? createState(config));
    for await (const messages of readRecording(caseInput(folder))) for (const message of messages) replay.apply(message);
    assert.deepEqual(replay.verdicts.map(expectedLine), await readExpected(folder));
  });
}
