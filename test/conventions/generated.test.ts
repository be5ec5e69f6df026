/** Generated documents are current: JSON Schemas, the HTTP description, the reason tables. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";
import { INCIDENTS, REASON_CODES } from "@aviary/shared/contract/reasons.ts";
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

  it("include a JSON Schema for every message", () => {
    const paths = filesUnder("docs/schemas").filter((path) => path.endsWith(".json"));
    for (const name of ["signal", "control", "verdict", "incident", "receipt", "digest", "dead", "job", "lane"]) {
      assert.ok(
        paths.some((path) => path.startsWith(`docs/schemas/${name}`)),
        `docs/schemas has no schema for ${name}: ${paths.join(", ")}`,
      );
    }
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

  it("list every reason and every incident", () => {
    const table = readText("docs/reasons.md");
    for (const code of [...REASON_CODES, ...Object.keys(INCIDENTS)])
      assert.ok(table.includes(`\`${code}\``), `docs/reasons.md lacks ${code}`);
  });
});
