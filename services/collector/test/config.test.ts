import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { ConfigError } from "@aviary/shared/runtime/config.ts";
import { temporaryDirectory } from "@aviary/shared/testing/temporary.ts";
import fc from "fast-check";
import { collectorConfig, loadCollectorConfig } from "../src/config.ts";
import { mergeConfig } from "../src/core/merge-config.ts";
import { PROBES } from "../src/probes/list.ts";

const BASE = "az: az-a\nfleet: payments\ngateway: mac-a1\nslice: canary\n";

async function files(test: TestContext, content: Readonly<Record<string, string>>): Promise<string> {
  const directory = await temporaryDirectory(test);
  await mkdir(join(directory, "conf.d"));
  for (const [name, text] of Object.entries(content)) await writeFile(join(directory, name), text);
  return join(directory, "collector.yaml");
}

async function problems(load: Promise<unknown>): Promise<string[]> {
  try {
    await load;
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.message.replaceAll(/\S*aviary-test-[^/]*\//g, "").split("\n");
  }
  return [];
}

describe("the collector configuration", () => {
  it("has defaults, and enables only probes with a section", async (test) => {
    const config = await loadCollectorConfig(await files(test, { "collector.yaml": `${BASE}probes:\n  gateway-probes: {}\n` }));
    assert.deepEqual(config.gateway, { az: "az-a", fleet: "payments", gateway: "mac-a1" });
    assert.deepEqual(Object.keys(config.probes), ["gateway-probes"]);
    assert.deepEqual(config.probes["gateway-probes"], {
      period: 5_000,
      timeout: 4_000,
      url: "http://127.0.0.1:18789",
      answerTimeout: 1_000,
      warmup: 60_000,
    });
    assert.deepEqual(config.spool, { maxBytes: 64 * 2 ** 20, redRatio: 0.9 });
  });

  it("reports every problem of all files with file, line and nearest key", async (test) => {
    const file = await files(test, {
      "collector.yaml": `${BASE.replace("az-a", "AZ A")}probes:\n  disk: { path: /, perod: 5s }\n`,
      "conf.d/10-queue.yaml": "probes:\n  queue:\n    lanes:\n      build:\n        redis: http://x\n        list: jobs\n",
    });
    const found = await problems(loadCollectorConfig(file));
    assert.equal(found.length, 3, found.join("\n"));
    assert.match(found[0]!, /^collector\.yaml:1: az: found "AZ A"/);
    assert.ok(
      found.some((line) => /^collector\.yaml:6: probes\.disk\.perod: .*period/.test(line)),
      found.join("\n"),
    );
    assert.ok(
      found.some((line) => /^conf\.d\/10-queue\.yaml:5: probes\.queue\.lanes\.build\.redis: /.test(line)),
      found.join("\n"),
    );
  });

  it("names files that are missing, invalid YAML or not a mapping", async (test) => {
    assert.match(
      (await problems(loadCollectorConfig(await files(test, {}))))[0]!,
      /^collector file collector\.yaml not found; set AVIARY_COLLECTOR_FILE$/,
    );
    const broken = await files(test, { "collector.yaml": BASE, "conf.d/a.yaml": "a: [", "conf.d/b.yaml": "b: }" });
    assert.equal((await problems(loadCollectorConfig(broken))).length >= 2, true);
    const list = await files(test, { "collector.yaml": BASE, "conf.d/a.yaml": "- 1" });
    assert.deepEqual(await problems(loadCollectorConfig(list)), [
      "conf.d/a.yaml: found another type, expected a mapping (key: value)",
    ]);
  });

  it("reports the problems of readable files although others are broken, but no key that the broken files may set", async (test) => {
    const file = await files(test, {
      "collector.yaml": `${BASE.replace("az-a", "AZ A").replace("slice: canary\n", "")}probes:\n  disk: { path: /, perod: 5s }\n`,
      "conf.d/a.yaml": "a: [",
      "conf.d/b.yaml": "- 1",
      "conf.d/c.yaml": "fleet: other\n",
    });
    const found = await problems(loadCollectorConfig(file));
    assert.deepEqual(
      found.map((line) => line.replace(/: (?:found|invalid|already) .*/, "")),
      [
        "conf.d/a.yaml:1",
        "conf.d/b.yaml",
        "conf.d/c.yaml:1: fleet",
        "collector.yaml:1: az",
        "collector.yaml:5: probes.disk.perod",
      ],
    );
    const completed = await files(test, {
      "collector.yaml": `${BASE}probes:\n  rollout: { period: 5s }\n`,
      "conf.d/a.yaml": "a: [",
    });
    assert.equal(
      (await problems(loadCollectorConfig(completed))).length,
      1,
      "the unreadable file may contain the rollout's source",
    );
    const wrong = await files(test, {
      "collector.yaml": `${BASE.replace("az: az-a", "az: { name: az-a }")}probes:\n  disk: { path: /, period: { seconds: 5 } }\n`,
      "conf.d/a.yaml": "a: [",
    });
    assert.deepEqual(
      (await problems(loadCollectorConfig(wrong))).map((line) => line.replace(/: (?:found|invalid) .*/, "")),
      ["conf.d/a.yaml:1", "collector.yaml:1: az", "collector.yaml:6: probes.disk.period"],
    );
    const lost = await files(test, { "collector.yaml": "}", "conf.d/a.yaml": "probes:\n  disc: { path: / }\n" });
    assert.deepEqual(
      (await problems(loadCollectorConfig(lost))).map((line) => line.replace(/: (?:found|invalid|already) .*/, "")),
      ["collector.yaml:1", "conf.d/a.yaml:2: probes.disc"],
    );
  });

  it("reports an alias that contains itself, and a conf.d that cannot be listed, next to all other problems", async (test) => {
    const cyclic = await files(test, {
      "collector.yaml": `${BASE}spool: &s\n  redRatio: *s\n`,
      "conf.d/a.yaml": "probes: { disc: {} }\n",
    });
    const found = await problems(loadCollectorConfig(cyclic));
    assert.match(found[0]!, /^collector\.yaml: invalid YAML: an alias contains itself$/);
    assert.match(found[1]!, /^conf\.d\/a\.yaml:1: probes\.disc: /);
    const directory = await temporaryDirectory(test);
    await writeFile(join(directory, "collector.yaml"), BASE.replace("az-a", "AZ A"));
    await writeFile(join(directory, "conf.d"), "not a directory");
    const blocked = await problems(loadCollectorConfig(join(directory, "collector.yaml")));
    assert.equal(blocked.length, 2, blocked.join("\n"));
    assert.match(blocked[0]!, /^directory \S*conf\.d is a path through a file$/);
    assert.match(blocked[1]!, /collector\.yaml:1: az: /);
  });

  it("rejects contradictory probe settings", () => {
    const base = { az: "a", fleet: "f", gateway: "g", slice: "canary" };
    for (const [probes, expected] of [
      [{ rollout: {} }, /exactly one of "file" and "url"/],
      [{ rollout: { file: "a", url: "http://b" } }, /exactly one/],
      [{ queue: { lanes: { l: { redis: "redis://x" } } } }, /exactly one of "list" and "bullmq"/],
      [{ queue: { lanes: {} } }, /1 to 32 lanes/],
      [{ skills: { roots: {} } }, /1 to 16 roots/],
      [{ deps: { targets: { a: "tcp://host" } } }, /tcp:\/\/host:port/],
      [{ "access-log": { path: "/x", format: "nginx", logFormat: "$status" } }, /a log_format with when the request finished/],
      [{ synthetic: { url: "ftp://x" } }, /probes\.synthetic\.url/],
    ] as const) {
      assert.throws(() => collectorConfig({ ...base, probes }), expected);
    }
  });

  it("has a unique name for every probe", () => {
    assert.equal(new Set(PROBES.map((probe) => probe.name)).size, PROBES.length);
  });
});

describe("fragments", () => {
  it("add keys, and only visible .yaml files are read", async (test) => {
    const config = await loadCollectorConfig(
      await files(test, {
        "collector.yaml": `${BASE}probes:\n  disk: { path: / }\n`,
        "conf.d/20-deps.yaml": "probes:\n  deps:\n    targets: { b: tcp://b:1 }\n",
        "conf.d/10-deps.yaml": "probes:\n  deps:\n    targets: { a: tcp://a:1 }\n",
        "conf.d/notes.txt": "}{",
        "conf.d/.hidden.yaml": "}{",
      }),
    );
    assert.deepEqual(Object.keys(config.probes).sort(), ["deps", "disk"]);
    assert.deepEqual((config.probes.deps as unknown as { targets: object }).targets, { a: "tcp://a:1", b: "tcp://b:1" });
  });

  it("report a clash with both files, even if the values are equal", async (test) => {
    const file = await files(test, {
      "collector.yaml": `${BASE}probes:\n  disk: { path: / }\n`,
      "conf.d/a.yaml": "slice: canary\nprobes:\n  deps: { targets: { a: tcp://a:1 } }\n",
      "conf.d/b.yaml": "probes:\n  deps: { targets: { a: tcp://b:1 } }\n  disk: []\n",
    });
    const found = await problems(loadCollectorConfig(file));
    assert.deepEqual(found, [
      "conf.d/a.yaml:1: slice: already set by collector.yaml; set each key in one file only",
      "conf.d/b.yaml:2: probes.deps.targets.a: already set by conf.d/a.yaml; set each key in one file only",
      "conf.d/b.yaml:3: probes.disk: already set by collector.yaml; set each key in one file only",
    ]);
  });

  it("have a hash that depends on their merged content, not on the node or the formatting", async (test) => {
    const fragment = "probes:\n  deps:\n    targets: { a: tcp://a:1 }\n    period: 20s\n";
    const hash = async (base: string, fragments: Readonly<Record<string, string>>): Promise<string> =>
      (await loadCollectorConfig(await files(test, { "collector.yaml": base, ...fragments }))).fragmentHash;
    const one = await hash(BASE, { "conf.d/a.yaml": fragment });
    const other = BASE.replace("mac-a1", "mac-a2").replace("az-a", "az-b");
    const split = {
      "conf.d/a.yaml": "probes: {deps: {period: 20s}}",
      "conf.d/b.yaml": '{"probes": {"deps": {"targets": {"a": "tcp://a:1"}}}}',
    };
    assert.equal(await hash(other, split), one);
    assert.notEqual(await hash(BASE, { "conf.d/a.yaml": fragment.replace("20s", "30s") }), one);
    assert.equal(await hash(BASE, {}), await hash(other, { "conf.d/empty.yaml": "" }));
    assert.match(one, /^[0-9a-f]{64}$/);
  });
});

describe("merging", () => {
  const tree = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { depthSize: "small" },
      fc.integer(),
      fc.array(fc.integer(), { maxLength: 2 }),
      fc.dictionary(fc.constantFrom("a", "b", "__proto__", "constructor"), tie("value"), { maxKeys: 3, noNullPrototype: true }),
    ),
  })).value;
  const mapping = fc.dictionary(fc.constantFrom("a", "b", "c"), tree, { noNullPrototype: true });

  it("leaves one file unchanged, and reports a clash for each leaf of a file merged with itself", () => {
    fc.assert(
      fc.property(mapping, (value) => {
        const once = mergeConfig([{ source: "a", value }]);
        assert.deepEqual([once.value, once.clashes], [value, []]);
        const twice = mergeConfig([
          { source: "a", value },
          { source: "b", value },
        ]);
        assert.deepEqual(twice.value, value);
        assert.ok(twice.clashes.every((clash) => clash.owner === "a" && clash.source === "b"));
        const leaves = JSON.stringify(value, (_key, inner) => (Array.isArray(inner) ? 0 : inner)).match(/\d+/g)?.length ?? 0;
        assert.equal(twice.clashes.length, leaves);
      }),
    );
  });

  it("does not depend on file order when nothing clashes", () => {
    fc.assert(
      fc.property(mapping, mapping, (left, right) => {
        const one = mergeConfig([
          { source: "l", value: left },
          { source: "r", value: right },
        ]);
        const two = mergeConfig([
          { source: "r", value: right },
          { source: "l", value: left },
        ]);
        assert.equal(one.clashes.length, two.clashes.length);
        if (one.clashes.length === 0) assert.deepEqual(one.value, two.value);
      }),
    );
  });
});
