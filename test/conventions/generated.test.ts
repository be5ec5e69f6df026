/** Generated documents are current: JSON Schemas, the HTTP description, the reason tables. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";
import { INCIDENTS, REASONS } from "@aviary/shared/contract/reasons.ts";
import { exists, filesUnder, ROOT, readText } from "./tree.ts";

describe("generated documents", () => {
  it("match the output of the generator", () => {
    const run = spawnSync(process.execPath, ["scripts/generate.ts", "--check"], {
      cwd: ROOT,
      encoding: "utf8",
      timeout: 120_000,
    });
    assert.equal(run.status, 0, `run \`npm run generate\` and commit what it writes\n${run.stdout}${run.stderr}`);
  });

  it("include a JSON Schema for every message and file, and no other", () => {
    const paths = filesUnder("docs/schemas");
    const messages = ["answer", "control", "dead", "digest", "incident", "job", "lane", "receipt", "signal", "verdict"];
    const files = ["file-aviary", "file-collector", "file-policy", "file-tokens"];
    assert.deepEqual(paths, [...messages, ...files].map((name) => `docs/schemas/${name}.json`).sort());
    for (const path of paths) {
      const schema = JSON.parse(readText(path)) as { $schema?: string };
      assert.equal(schema.$schema, "https://json-schema.org/draft/2020-12/schema", path);
    }
  });

  it("describe the HTTP routes", () => {
    assert.ok(exists("docs/openapi.json"), "docs/openapi.json is missing: npm run generate");
    const { openapi, paths } = JSON.parse(readText("docs/openapi.json")) as { openapi: string; paths: Record<string, unknown> };
    assert.match(openapi, /^3\.[01]\./);
    assert.ok(Object.keys(paths).includes("/rollouts/analysis"), Object.keys(paths).join(", "));
  });

  it("list every reason and incident code once, with its meaning", () => {
    const rows = [...readText("docs/reasons.md").matchAll(/^\| `([a-z0-9_]+)` \|.*\| ([^|]+) \|$/gm)].map(([, code, meaning]) => [
      code,
      meaning,
    ]);
    const reasons = Object.entries(REASONS).map(([code, { meaning }]) => [code, meaning]);
    const incidents = Object.entries(INCIDENTS).map(([code, { meaning }]) => [code, meaning]);
    assert.deepEqual(rows, [...reasons, ...incidents]);
  });
});
