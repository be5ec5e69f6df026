/**
 * Writes the documents that are derived from code: JSON Schemas, the HTTP description, and the tables of reasons and incidents.
 *
 *     npm run generate                   writes the files that differ
 *     npm run generate -- --check        writes nothing; fails and lists the files that differ
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { INCIDENTS, REASONS, type ReasonKind } from "../libs/shared/src/contract/reasons.ts";
import { collectorFileSchema } from "../services/collector/src/config.ts";
import { jsonSchemaOf, jsonSchemas, openApi } from "../services/shim/src/api/openapi.ts";
import { routesOf } from "../services/shim/src/routes.ts";

const PROJECT = fileURLToPath(new URL("..", import.meta.url));
const SCHEMA_PLACE = "docs/schemas";

const EFFECTS: Readonly<Record<ReasonKind["effect"], string>> = {
  evidence: "hold, not degraded",
  hold: "hold, degraded",
  fail: "can fail",
  answer: "hold, set by the shim",
};

function reasonsPage(): string {
  const reasons = Object.entries(REASONS).map(
    ([code, { effect, hard, meaning }]) => `| \`${code}\` | ${EFFECTS[effect]} | ${hard ? "yes" : ""} | ${meaning} |`,
  );
  const incidents = Object.entries(INCIDENTS).map(
    ([code, { severity, meaning }]) => `| \`${code}\` | ${severity} | ${meaning} |`,
  );
  return [
    "# Reasons and incidents",
    "",
    "Written by `npm run generate` from `libs/shared/src/contract/reasons.ts`. Both lists are closed: a code is never renamed, so programs may match on it.",
    "",
    "## Reasons",
    "",
    "A reason that can fail is a hold until the judge's rule, or a hard signal, fails the run.",
    "Hard reasons also close Flagger's confirm-rollout gate while no traffic can exist yet.",
    "",
    "| Code | Effect | Hard | Meaning |",
    "|---|---|---|---|",
    ...reasons,
    "",
    "## Incidents",
    "",
    "Conditions that people must act on apart from the verdict; on the bus as `incidents.<namespace>.<canary>.<code>`.",
    "",
    "| Code | Severity | Meaning |",
    "|---|---|---|",
    ...incidents,
    "",
  ].join("\n");
}

/** Every generated file and its content. */
function documents(): Map<string, string> {
  const json = (value: object): string => `${JSON.stringify(value, null, 2)}\n`;
  const schemas = { ...jsonSchemas(), "file-collector": jsonSchemaOf(collectorFileSchema, "collector.yaml") };
  return new Map([
    ...Object.entries(schemas).map(([name, schema]): [string, string] => [`${SCHEMA_PLACE}/${name}.json`, json(schema)]),
    ["docs/openapi.json", json(openApi(routesOf()))],
    ["docs/reasons.md", reasonsPage()],
  ]);
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(join(PROJECT, path), "utf8");
  } catch {
    return undefined;
  }
}

/** Schema files that no code describes any longer. */
function leftOver(wanted: ReadonlyMap<string, string>): string[] {
  mkdirSync(join(PROJECT, SCHEMA_PLACE), { recursive: true });
  return readdirSync(join(PROJECT, SCHEMA_PLACE))
    .map((name) => `${SCHEMA_PLACE}/${name}`)
    .filter((path) => !wanted.has(path));
}

function main(): number {
  const { values } = parseArgs({ options: { check: { type: "boolean", default: false } } });
  const wanted = documents();
  const stale = [...wanted].filter(([path, content]) => readIfThere(path) !== content);
  const old = leftOver(wanted);
  if (values.check) {
    for (const [path] of stale) console.error(`${path} is out of date`);
    for (const path of old) console.error(`${path} is obsolete`);
    return stale.length + old.length === 0 ? 0 : 1;
  }
  for (const [path, content] of stale) {
    mkdirSync(dirname(join(PROJECT, path)), { recursive: true });
    writeFileSync(join(PROJECT, path), content);
    console.log(path);
  }
  for (const path of old) rmSync(join(PROJECT, path));
  return 0;
}

process.exitCode = main();
