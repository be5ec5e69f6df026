import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { z } from "zod";
import { duration } from "../../src/contract/units.ts";
import { bytes, formatBytes, parseBytes } from "../../src/runtime/bytes.ts";
import {
  ConfigError,
  checkConfig,
  formatProblem,
  formatProblems,
  loadYamlFile,
  MAX_FILE_BYTES,
  parseConfig,
  parseYaml,
  readEnv,
} from "../../src/runtime/config.ts";
import { editDistance, nearestName } from "../../src/runtime/config-issues.ts";
import { isRetryable } from "../../src/runtime/faults.ts";

const lane = z.strictObject({
  az: z.enum(["az-a", "az-b"]),
  perReplica: z.int().min(1).max(64),
  pollingInterval: duration("1s", "10m").prefault("30s"),
});
const schema = z.compile(
  z.strictObject({
    window: duration("1s", "1h"),
    spool: bytes("1KiB", "1GiB").prefault("64MiB"),
    lanes: z.record(z.string().regex(/^[a-z-]+$/), lane).optional(),
    gateways: z
      .array(z.strictObject({ name: z.string().max(8), tier: z.enum(["1TB", "2TB"]) }))
      .max(2)
      .optional(),
    upstream: z
      .union([z.string().min(3), z.strictObject({ url: z.url(), gatewayToken: z.string().min(8).optional() })])
      .optional(),
    source: z
      .discriminatedUnion("kind", [
        z.strictObject({ kind: z.literal("log"), path: z.string() }),
        z.strictObject({ kind: z.literal("http"), port: z.int() }),
      ])
      .optional(),
  }),
);

/** The report of a YAML text. */
function report(text: string): string[] {
  const file = parseYaml("c.yaml", text);
  const result = checkConfig(file.source, file.value, schema, file.lineOf);
  return result.ok ? [] : result.problems.map(formatProblem);
}

describe("a valid configuration", () => {
  it("is typed, with durations in milliseconds, sizes in bytes and defaults applied", () => {
    const file = parseYaml("c.yaml", "window: 5m\nlanes: { build-a: { az: az-a, perReplica: 8 } }\n");
    assert.deepEqual(parseConfig("c.yaml", file.value, schema), {
      window: 300_000,
      spool: 67_108_864,
      lanes: { "build-a": { az: "az-a", perReplica: 8, pollingInterval: 30_000 } },
    });
  });

  it("may be JSON, which is YAML", () => {
    assert.deepEqual(report('{"window": "60s"}'), []);
  });
});

describe("an invalid configuration", () => {
  it("is rejected with every problem at once: line, key, value found, value expected", () => {
    const text = [
      "window: 5x",
      "spool: 64MB",
      "lanes:",
      "  build-a:",
      "    az: az-c",
      "    perReplica: 0",
      "gateways:",
      "  - { name: mac-a1, tier: 3TB }",
    ].join("\n");
    assert.deepEqual(report(text), [
      'c.yaml:1: window: found "5x", expected a duration such as "5m" or "250ms"',
      'c.yaml:2: spool: found "64MB", expected a size from 1KiB to 1GiB, such as "1GiB" (units B, KiB, MiB, GiB, TiB)',
      'c.yaml:5: lanes.build-a.az: found "az-c", expected one of "az-a", "az-b"',
      "c.yaml:6: lanes.build-a.perReplica: found 0, expected at least 1",
      'c.yaml:8: gateways[0].tier: found "3TB", expected one of "1TB", "2TB"',
    ]);
  });

  it("suggests the nearest known key for an unknown key, or lists the known keys, at any depth", () => {
    const text = "windwo: 5m\nwindow: 5m\nlanes:\n  build-a: { az: az-a, per_replica: 8, perReplica: 8, zebra: 1 }\n";
    assert.deepEqual(report(text), [
      'c.yaml:4: lanes.build-a.per_replica: found the unknown key "per_replica", expected the known key "perReplica"',
      'c.yaml:4: lanes.build-a.zebra: found the unknown key "zebra", expected one of az, perReplica, pollingInterval',
      'c.yaml:1: windwo: found the unknown key "windwo", expected the known key "window"',
    ]);
  });

  it("reports a missing key at the line of its mapping, and an invalid key at its own line", () => {
    assert.deepEqual(report("lanes:\n  B1:\n    az: az-a\n    perReplica: 1\n"), [
      'c.yaml:1: window: missing, expected a duration such as "5m" or "250ms"',
      'c.yaml:2: lanes.B1: found the key "B1", expected text that matches /^[a-z-]+$/',
    ]);
  });

  it("reports the intended branch of a union", () => {
    assert.deepEqual(report("window: 5m\nupstream: { url: nowhere, ulr: x }\nsource: { kind: log, paht: x }"), [
      'c.yaml:2: upstream.url: found "nowhere", expected a URL',
      'c.yaml:2: upstream.ulr: found the unknown key "ulr", expected the known key "url"',
      "c.yaml:3: source.path: missing, expected text",
      'c.yaml:3: source.paht: found the unknown key "paht", expected the known key "path"',
    ]);
    assert.deepEqual(report("window: 5m\nupstream: 7\nsource: { kind: lgo }"), [
      "c.yaml:2: upstream: found 7, expected text, or a mapping (key: value)",
      'c.yaml:3: source.kind: found "lgo", expected one of "log", "http"',
    ]);
  });

  it("never shows a secret", () => {
    const lines = report("window: https://me:hunter2@host/\nupstream: { url: 'http://a', gatewayToken: s3cret }");
    assert.equal(lines.length, 2);
    assert.match(lines[1] ?? "", /upstream\.gatewayToken: found \[hidden\] \(text\), expected at least 8 characters/);
    assert.doesNotMatch(lines.join(), /hunter2|s3cret/);
  });

  it("reports the length limits of text and lists", () => {
    assert.deepEqual(report("window: 5m\ngateways: [{name: much-too-long, tier: 1TB}]"), [
      'c.yaml:2: gateways[0].name: found "much-too-long", expected at most 8 characters',
    ]);
    assert.deepEqual(report("window: 5m\ngateways: [{name: a, tier: 1TB}, {name: b, tier: 1TB}, {name: c, tier: 1TB}]"), [
      "c.yaml:2: gateways: found a list of 3, expected at most 2 entries",
    ]);
  });

  it("shows 50 problems and the number of further ones", () => {
    const problems = Array.from({ length: 60 }, (_, index) => ({ source: "f", path: `k${index}`, found: "x", expected: "y" }));
    const lines = formatProblems(problems).split("\n");
    assert.equal(lines.length, 51);
    assert.equal(lines[50], "and 10 more problems");
  });

  it("throws a terminal fault whose message is the report", () => {
    assert.throws(
      () => parseConfig("c.yaml", {}, schema),
      (error) =>
        error instanceof ConfigError &&
        error.code === "bad_config" &&
        error.problems.length === 1 &&
        !isRetryable(error) &&
        error.message.startsWith("c.yaml: window:"),
    );
  });

  it("never throws, and reports at least one problem, for any invalid value", () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        const result = checkConfig("any", value, schema);
        if (!result.ok) assert.ok(formatProblems(result.problems).length > 0);
      }),
    );
  });
});

describe("YAML", () => {
  it("reports file and line of every syntax error", () => {
    assert.throws(() => parseYaml("c.yaml", "a: 1\nb: [1,\nc: 2\n"), /^ConfigError: c\.yaml:3: invalid YAML/);
    assert.throws(() => parseYaml("c.yaml", "a: 1\nb: 2\na: 3\n"), /c\.yaml:3: invalid YAML: Map keys must be unique/);
    assert.throws(() => parseYaml("c.yaml", "a: 1\n---\nb: 2\n"), /c\.yaml:2: invalid YAML/);
  });

  it("rejects aliases that expand exponentially", () => {
    const bomb = [
      "a: &a [x,x,x,x,x,x,x,x,x,x]",
      ...["b", "c", "d", "e"].map((key, index) => `${key}: &${key} [${Array(10).fill(`*${"abcd"[index]}`).join(",")}]`),
    ];
    assert.throws(() => parseYaml("c.yaml", bomb.join("\n")), /c\.yaml: invalid YAML/);
  });

  it("keeps `no` and dates as text, as in YAML 1.2", () => {
    assert.deepEqual(parseYaml("c.yaml", "a: no\nb: 2026-11-01\n").value, { a: "no", b: "2026-11-01" });
  });

  it("finds lines through aliases", () => {
    const file = parseYaml("c.yaml", "x: &x\n  az: az-a\n  perReplica: 99\nlanes:\n  a: *x\n");
    assert.equal(file.lineOf(["lanes", "a", "perReplica"]), 3);
  });
});

describe("files", () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "aviary-config-"));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  it("are read and validated in one step", async () => {
    const path = join(folder, "good.yaml");
    await writeFile(path, "window: 5m\n");
    assert.equal((await loadYamlFile(path, schema)).window, 300_000);
  });

  it("that are missing, invalid or oversized are reported", async () => {
    await assert.rejects(loadYamlFile(join(folder, "absent.yaml"), schema), /file \S+absent\.yaml not found/);
    const huge = join(folder, "huge.yaml");
    await writeFile(huge, `# ${"x".repeat(MAX_FILE_BYTES)}`);
    await assert.rejects(loadYamlFile(huge, schema), /huge\.yaml: found 1048578 bytes, expected at most 1048576 bytes/);
    const empty = join(folder, "empty.yaml");
    await writeFile(empty, "# nothing\n");
    await assert.rejects(loadYamlFile(empty, schema), /empty\.yaml:?\d*: window: missing, expected a duration/);
  });
});

describe("the environment", () => {
  const env = z.strictObject({
    AVIARY_PORT: z.coerce.number().int().min(1).max(65_535),
    AVIARY_TOKEN: z.string().min(20).optional(),
  });

  it("reads only variables of the schema; an empty variable counts as absent", () => {
    assert.deepEqual(
      readEnv(env, { AVIARY_PORT: "8080", AVIARY_TOKEN: "", AVIARY_SHIM_SERVICE_HOST: "10.0.0.1", PATH: "/bin" }),
      { AVIARY_PORT: 8080 },
    );
  });

  it("reports every problem by variable, without secrets", () => {
    assert.throws(
      () => readEnv(env, { AVIARY_PORT: "eighty", AVIARY_TOKEN: "hunter2" }),
      (error) =>
        error instanceof ConfigError &&
        error.message ===
          'environment: AVIARY_PORT: found "eighty", expected a number\nenvironment: AVIARY_TOKEN: found [hidden] (text), expected at least 20 characters',
    );
  });
});

describe("names and sizes", () => {
  it("the nearest name tolerates typing errors and spelling variants, but not other words", () => {
    const known = ["max5xxRate", "maxP99", "maxQueueDepth"];
    assert.equal(nearestName("max_5xx_rate", known), "max5xxRate");
    assert.equal(nearestName("maxQueueDetph", known), "maxQueueDepth");
    assert.equal(nearestName("color", known), undefined);
  });

  it("the edit distance is symmetric, zero only for equal words, and bounded by the lengths", () => {
    const word = fc.string({ maxLength: 8, unit: fc.constantFrom("a", "b", "c") });
    fc.assert(
      fc.property(word, word, (a, b) => {
        assert.equal(editDistance(a, a), 0);
        assert.equal(editDistance(a, b), editDistance(b, a));
        assert.ok(editDistance(a, b) <= Math.max(a.length, b.length));
        assert.ok(editDistance(a, b) >= Math.abs(a.length - b.length));
        if (a !== b) assert.ok(editDistance(a, b) > 0);
      }),
    );
    assert.equal(editDistance("windwo", "window"), 1);
  });

  it("parseBytes inverts formatBytes and rejects malformed sizes", () => {
    fc.assert(fc.property(fc.nat(), (size) => assert.equal(parseBytes(formatBytes(size)), size)));
    for (const bad of ["64MB", "64 MiB", "1.5GiB", "-1B", "", "9999999999999TiB", "MiB"])
      assert.equal(parseBytes(bad), undefined, bad);
  });
});
