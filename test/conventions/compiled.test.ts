/**
 * Schemas on hot paths are compiled with `z.compile`, about twenty times faster than interpretation. A schema that cannot be
 * compiled is interpreted silently, so these tests detect it.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";
import { controlSchema } from "@aviary/shared/contract/control.ts";
import { incidentSchema } from "@aviary/shared/contract/incident.ts";
import { laneRecordSchema } from "@aviary/shared/contract/lane.ts";
import { signalSchema } from "@aviary/shared/contract/signal.ts";
import { verdictRecordSchema } from "@aviary/shared/contract/verdict.ts";
import { z } from "zod";
import { filesUnder, ROOT, readText } from "./tree.ts";

/** Schemas that are applied once per message or answer. */
const HOT: Readonly<Record<string, z.ZodType>> = {
  signalSchema,
  controlSchema,
  verdictRecordSchema,
  laneRecordSchema,
  incidentSchema,
};

const contract = filesUnder("libs/shared/src/contract").map((path) => ({ path, text: readText(path) }));

describe("compiled schemas", () => {
  for (const [name, schema] of Object.entries(HOT)) {
    it(`${name} contains nothing that the compiler rejects`, () => {
      // Without `strict`, a schema that cannot be compiled is interpreted silently.
      assert.doesNotThrow(
        () => z.compile(schema, { strict: true }),
        `${name} would be interpreted, not compiled: find the refinement or transform that z.compile rejects`,
      );
    });
    it(`${name} is compiled in its own file, and its parse function uses the compiled schema`, () => {
      const home = contract.find((file) => file.text.includes(`export const ${name} =`));
      assert.ok(home, `${name} is not exported by a file of contract/`);
      assert.match(
        home.text,
        new RegExp(`compiled \\?\\?= z\\.compile\\(${name}\\);|const compiled = z\\.compile\\(${name}\\);`),
        `${home.path} does not compile ${name}`,
      );
    });
  }

  it("every parse function of the contract uses a compiled schema", () => {
    for (const { path, text } of contract) {
      for (const [statement, name] of text.matchAll(/export const (parse\w+) = \([^;]*?\)[^;]*safeParse\([^;]*;/g)) {
        assert.match(statement, /=>\s*compiled\.safeParse\(value\);$/, `${path}: ${name} uses the interpreted schema`);
      }
    }
  });

  it("compiled and interpreted schemas agree on valid and invalid values", () => {
    const good = { v: 1, id: "x", caller: "operator", at: "2026-11-21T10:05:00.000Z", verb: "abort", reason: "drill" };
    const values = [
      good,
      { ...good, v: 2 },
      { ...good, at: "yesterday" },
      { ...good, extra: 1 },
      null,
      [],
      { verb: "abort" },
      JSON.parse('{"__proto__": 1}'),
    ];
    const compiled = z.compile(controlSchema, { strict: true });
    for (const value of values) {
      const [a, b] = [compiled.safeParse(value), controlSchema.safeParse(value)];
      assert.equal(a.success, b.success, JSON.stringify(value));
      assert.deepEqual(a.data, b.data);
      assert.deepEqual(a.error?.issues, b.error?.issues);
    }
  });

  it("schemas are interpreted if the process may not generate code", () => {
    const program = `
      import { parseControl } from "@aviary/shared/contract/control.ts";
      const good = { v: 1, id: "x", caller: "operator", at: "2026-11-21T10:05:00.000Z", verb: "abort", reason: "drill" };
      console.log(parseControl(good).success, parseControl({ ...good, v: 2 }).success);
    `;
    const run = spawnSync(
      process.execPath,
      ["--disallow-code-generation-from-strings", "--input-type=module", "--eval", program],
      { cwd: ROOT, encoding: "utf8", timeout: 60_000 },
    );
    assert.equal(run.status, 0, run.stderr);
    assert.equal(run.stdout.trim(), "true false");
  });
});
