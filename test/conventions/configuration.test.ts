/** The documented configuration matches the code: variables, examples and defaults. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fleetFileSchema } from "@aviary/shared/contract/fleet.ts";
import { defaultPolicy, policySchema } from "@aviary/shared/contract/policy.ts";
import { parseConfig, parseYaml } from "@aviary/shared/runtime/config.ts";
import { z } from "zod";
import { collectorConfig } from "../../services/collector/src/config.ts";
import { PROBES } from "../../services/collector/src/probes/list.ts";
import { checkTokenFile } from "../../services/shim/src/auth/token-rotation.ts";
import { tokenFileSchema } from "../../services/shim/src/auth/tokens.ts";
import { codeFiles, filesUnder, isProduct, readText } from "./tree.ts";

const PAGE = "docs/configuration.md";
const VARIABLE = /\bAVIARY_[A-Z0-9_]*[A-Z0-9]\b/g;

/** Variables that occur in files, each with the first such file. */
function named(paths: readonly string[]): Map<string, string> {
  const found = new Map<string, string>();
  for (const path of paths) for (const [name] of readText(path).matchAll(VARIABLE)) if (!found.has(name)) found.set(name, path);
  return found;
}

const read = named(codeFiles().filter((path) => isProduct(path) || /^(scripts|tools|libs\/shared\/src\/testing)\//.test(path)));
const documented = named([PAGE]);

describe("environment variables", () => {
  it("are documented if the code reads them", () => {
    const missing = [...read].filter(([name]) => !documented.has(name)).map(([name, path]) => `${name} (${path})`);
    assert.deepEqual(missing, [], `variables missing from ${PAGE}`);
  });

  it("are read by the code if they are documented", () => {
    const idle = [...documented.keys()].filter((name) => !read.has(name));
    assert.deepEqual(idle, [], "documented variables that no code reads");
  });
});

/** The fenced YAML that starts with `# <name>`, parsed with a schema. */
function example<S extends z.ZodType>(name: string, schema: S): z.output<S> {
  const fence = [...readText(PAGE).matchAll(/```yaml\n# (.*)\n([\s\S]*?)```/g)].find((match) => match[1] === name);
  assert.ok(fence, `${PAGE} has no example that starts with "# ${name}"`);
  const file = parseYaml(name, fence[2] as string);
  return parseConfig(file.source, file.value, schema, file.lineOf);
}

describe("documented files", () => {
  it("the aviary.yaml example is valid", () => {
    assert.deepEqual(Object.keys(example("aviary.yaml", fleetFileSchema).canaries), ["prod/payments-gateway"]);
  });

  it("the policy example shows every key with its default", () => {
    const fence = /```yaml\n# policies\/default\.yaml\n([\s\S]*?)```/.exec(readText(PAGE));
    const written = parseYaml("policies/default.yaml", fence?.[1] ?? "").value as Record<string, unknown>;
    assert.deepEqual(example("policies/default.yaml", policySchema), defaultPolicy());
    const known = Object.keys((policySchema.in as z.ZodObject).shape);
    assert.deepEqual(Object.keys(written).sort(), known.sort());
  });

  it("the tokens.yaml example is valid, including its rotation", () => {
    const entries = example("tokens.yaml", tokenFileSchema);
    const now = Date.parse("2026-11-24T00:00:00Z");
    assert.deepEqual(checkTokenFile({ source: "tokens.yaml", entries, nowMs: now }), []);
  });

  it("the collector.yaml example is valid, and contains every probe", () => {
    const config = collectorConfig(example("collector.yaml", z.unknown()));
    assert.deepEqual(Object.keys(config.probes).sort(), PROBES.map((probe) => probe.name).sort());
  });

  it("every YAML file of the examples is valid YAML", () => {
    const files = filesUnder("examples").filter((path) => /\.ya?ml$/.test(path));
    assert.ok(files.includes("examples/fleet/config/collector.template.yaml"));
    for (const path of files) assert.doesNotThrow(() => parseYaml(path, readText(path)), path);
  });
});
