/** Applies the rules of `rules.ts` to the tree, and to samples that must be detected. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the samples contain code
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { findings, importCycles, RULES, resolveImport } from "./rules.ts";
import { readSource, type Source } from "./source.ts";
import { codeFiles, exists, readText } from "./tree.ts";

const sources: readonly Source[] = codeFiles().map((path) => readSource(path, readText(path)));

describe("module boundaries", () => {
  it("the scan includes the code of libs and tests", () => {
    for (const place of ["libs/shared/src/contract/subjects.ts", "test/conventions/boundaries.test.ts"]) {
      assert.ok(
        sources.some((source) => source.path === place),
        `${place} was not found: the directory walk in tree.ts is broken`,
      );
    }
  });

  for (const rule of RULES) {
    it(rule.name, () => {
      const found = sources.filter((source) => rule.applies(source.path)).flatMap((source) => rule.check(source));
      const list = found.map((finding) => `  ${finding.path}:${finding.line}: ${finding.what}`).join("\n");
      assert.equal(found.length, 0, `${rule.name}: ${rule.reason}\n${list}`);
    });
  }

  it("imports have no cycle", () => {
    assert.deepEqual(importCycles(sources), [], "a module in a cycle cannot be read, tested or loaded on its own");
  });

  it("relative and workspace imports resolve to files", () => {
    const lost = sources.flatMap((source) =>
      source.imports
        .map((found) => ({ found, to: resolveImport(source.path, found.specifier) }))
        .filter(({ found, to }) => /^(\.|@aviary\/)/.test(found.specifier) && !exists(to))
        .map(({ found, to }) => `${source.path}:${found.line}: ${found.specifier} -> ${to}`),
    );
    assert.deepEqual(lost, [], "an unresolved import fails only at run time");
  });
});

/** Samples that break a rule: each must be detected by that rule and by no other. */
const BAD: readonly { readonly rule: string; readonly path: string; readonly text: string }[] = [
  {
    rule: "services never import each other",
    path: "services/collector/src/x.ts",
    text: 'import { step } from "@aviary/evaluator/src/io/inputs.ts";',
  },
  {
    rule: "services never import each other",
    path: "services/collector/src/x.ts",
    text: 'import type { Run } from "../../evaluator/src/io/run.ts";',
  },
  {
    rule: "libs import no service, command or example",
    path: "libs/shared/src/runtime/x.ts",
    text: 'export { probe } from "../../../../services/collector/src/probes/list.ts";',
  },
  {
    rule: "the command line imports only the commands of services",
    path: "cli/src/x.ts",
    text: 'const { main } = await import("@aviary/evaluator/src/main.ts");',
  },
  {
    rule: "core/ imports the contract, the histogram, zod and itself",
    path: "services/evaluator/src/core/x.ts",
    text: 'import { readFileSync } from "node:fs";',
  },
  {
    rule: "core/ imports the contract, the histogram, zod and itself",
    path: "services/evaluator/src/core/x.ts",
    text: 'import type { Bus } from "@aviary/shared/bus/bus.ts";',
  },
  {
    rule: "contract/ imports the contract, the histogram, zod and hashing",
    path: "libs/shared/src/contract/x.ts",
    text: 'import { readFile } from "node:fs/promises";',
  },
  {
    rule: "the NATS client is imported in bus/ only",
    path: "services/collector/src/io/x.ts",
    text: 'import { connect } from "@nats-io/transport-node";',
  },
  { rule: "built-in modules are imported with node:", path: "cli/src/x.ts", text: 'import fs from "fs";' },
  {
    rule: "no module of timers is imported",
    path: "services/collector/src/x.ts",
    text: 'import { setTimeout as sleep } from "node:timers/promises";',
  },
  { rule: "time is read in runtime/clock.ts only", path: "services/collector/src/x.ts", text: "const at = new Date();" },
  { rule: "time is read in runtime/clock.ts only", path: "services/collector/src/x.ts", text: "setTimeout(run, 5);" },
  { rule: "time is read in runtime/clock.ts only", path: "libs/shared/src/bus/x.ts", text: "const text = `${Date.now()}`;" },
  { rule: "log lines have an event", path: "services/shim/src/x.ts", text: 'log.warn({ err: error }, "no event");' },
  { rule: "log lines have an event", path: "libs/shared/src/bus/x.ts", text: 'logger.info("no fields");' },
  { rule: "core/ is pure", path: "services/evaluator/src/core/x.ts", text: "export const draw = () => Math.random();" },
  { rule: "core/ is pure", path: "services/evaluator/src/core/x.ts", text: "const x = /* comment */ process.env.X;" },
  { rule: "shared code reads no environment", path: "libs/shared/src/bus/x.ts", text: "const url = process.env.URL;" },
  { rule: "no re-export of whole modules", path: "libs/shared/src/contract/x.ts", text: 'export * from "./ids.ts";' },
  { rule: "no barrel and no catch-all file", path: "services/collector/src/utils.ts", text: "" },
  {
    rule: "subjects are built in contract/subjects.ts only",
    path: "services/collector/src/x.ts",
    text: 'const subject = "signals.az-a.payments.mac-a1.http";',
  },
  {
    rule: "subjects are built in contract/subjects.ts only",
    path: "services/collector/src/x.ts",
    text: "const subject = `verdicts.${namespace}.${name}`;",
  },
  { rule: "a file has at most 400 lines", path: "cli/src/x.ts", text: "\n".repeat(401) },
];

describe("the boundary checker", () => {
  BAD.forEach(({ rule, path, text }, index) => {
    it(`detects sample ${index + 1}: ${rule}`, () => {
      const found = findings(readSource(path, text));
      assert.equal(found.length, 1, `expected one finding, got ${found.length}:\n${found.join("\n")}`);
      assert.ok(found[0]?.includes(`rule: ${rule}\n`), found[0]);
    });
  });

  it("has a sample for every rule", () => {
    const covered = new Set(BAD.map((bad) => bad.rule));
    assert.deepEqual(
      RULES.map((rule) => rule.name).filter((name) => !covered.has(name)),
      [],
      "a rule without a sample may detect nothing",
    );
  });

  it("finds a cycle of three modules, and ignores type imports", () => {
    const module = (path: string, text: string) => readSource(path, text);
    const ring = [
      module("cli/src/a.ts", 'import { b } from "./b.ts";'),
      module("cli/src/b.ts", 'import { c } from "./c.ts";'),
      module("cli/src/c.ts", 'import { a } from "./a.ts";'),
    ];
    assert.deepEqual(importCycles(ring), ["cli/src/a.ts -> cli/src/b.ts -> cli/src/c.ts -> cli/src/a.ts"]);
    const loose = [ring[0] as Source, ring[1] as Source, module("cli/src/c.ts", 'import type { A } from "./a.ts";')];
    assert.deepEqual(importCycles(loose), []);
  });

  it("ignores comments, strings, templates and regular expressions", () => {
    const text = [
      "// await Date.now() process",
      "/* import x from 'fs'; */",
      'const a = "await Math.random()";',
      "const b = `process ${`nested } ${a}`} console`;",
      "const p: { process: number; } = state.process.depth;",
      'const c = /await [/`"] process/.test(a);',
      "const d = 4 / 2 / 1;",
    ].join("\n");
    assert.deepEqual(findings(readSource("services/evaluator/src/core/x.ts", text)), []);
    const real = readSource("services/evaluator/src/core/x.ts", `${text}\nconst e = \`\${process.pid}\`;`);
    assert.equal(findings(real).length, 1);
  });

  it("recognizes every form of import", () => {
    const text = [
      'import a from "./a.ts";',
      'import * as b from "./b.ts";',
      'import c, { type D, e as f } from "./c.ts";',
      'import type { G } from "./g.ts";',
      'import "./h.ts";',
      'export { i } from "./i.ts";',
      'export type { J } from "./j.ts";',
      'import {\n  k,\n  l,\n} from "./k.ts";',
      'const m = await import("./m.ts");',
    ].join("\n");
    const { imports } = readSource("cli/src/x.ts", text);
    const seen = Object.fromEntries(imports.map((found) => [found.specifier, `${found.line}${found.typeOnly ? " type" : ""}`]));
    assert.deepEqual(seen, {
      "./a.ts": "1",
      "./b.ts": "2",
      "./c.ts": "3",
      "./g.ts": "4 type",
      "./h.ts": "5",
      "./i.ts": "6",
      "./j.ts": "7 type",
      "./k.ts": "8",
      "./m.ts": "12",
    });
  });
});
