import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { createRegistry, registerProcessMetrics } from "../../src/runtime/metrics.ts";

describe("metrics", () => {
  it("are exposed as Prometheus text", () => {
    const registry = createRegistry();
    registry
      .counter("a_total", "What a\\b\ncounts.", { labels: ["kind", "az"] })
      .series({ az: "az-a", kind: "http" })
      .inc(3);
    registry.gauge("depth", "Depth.").series().set(-1.5);
    const latency = registry.histogram("latency_seconds", "Latency.", [0.1, 1], { labels: ["route"] }).series({ route: "/x" });
    for (const value of [0.1, 0.5, 7, Number.NaN, Number.POSITIVE_INFINITY]) latency.observe(value);
    registry.read("gauge", "odd", "Odd.", () => Number.NEGATIVE_INFINITY);
    registry.read("gauge", "broken", "Broken.", () => {
      throw new Error("no");
    });
    assert.equal(
      registry.expose(),
      [
        "# HELP a_total What a\\\\b\\ncounts.",
        "# TYPE a_total counter",
        'a_total{kind="http",az="az-a"} 3',
        "# HELP depth Depth.",
        "# TYPE depth gauge",
        "depth -1.5",
        "# HELP latency_seconds Latency.",
        "# TYPE latency_seconds histogram",
        'latency_seconds_bucket{route="/x",le="0.1"} 1',
        'latency_seconds_bucket{route="/x",le="1"} 2',
        'latency_seconds_bucket{route="/x",le="+Inf"} 3',
        'latency_seconds_sum{route="/x"} 7.6',
        'latency_seconds_count{route="/x"} 3',
        "# HELP odd Odd.",
        "# TYPE odd gauge",
        "odd -Inf",
        "",
      ].join("\n"),
    );
  });

  it("a label value may be any text and is escaped reversibly", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 20, unit: fc.constantFrom("a", '"', "\\", "\n", "{", "}", ",", "=", "ü") }), (value) => {
        const registry = createRegistry();
        registry
          .counter("c_total", "C.", { labels: ["l"] })
          .series({ l: value })
          .inc();
        const line = registry.expose().split("\n")[2] ?? "";
        const written = /^c_total\{l="(.*)"\} 1$/.exec(line)?.[1];
        assert.notEqual(written, undefined, line);
        assert.equal(
          written?.replaceAll(/\\(.)/g, (_, char: string) => (char === "n" ? "\n" : char)),
          value,
        );
      }),
    );
  });

  it("a label set has one series object", () => {
    const family = createRegistry().counter("c_total", "C.", { labels: ["a", "b"] });
    const series = family.series({ a: "1", b: "2" });
    series.inc();
    assert.equal(family.series({ b: "2", a: "1" }), series);
    assert.equal(series.value, 1);
    assert.throws(() => series.inc(-1), RangeError);
    assert.throws(() => series.inc(Number.NaN), RangeError);
    family.remove({ a: "1", b: "2" });
    assert.equal(family.series({ a: "1", b: "2" }).value, 0);
  });

  it("label sets beyond the limit are counted in one overflow series", () => {
    const registry = createRegistry();
    const family = registry.counter("c_total", "C.", { labels: ["who"], maxSeries: 3 });
    for (let index = 0; index < 10; index += 1) family.series({ who: `w${index}` }).inc();
    for (let index = 0; index < 10; index += 1) family.series({ who: `w${index}` }).inc();
    const lines = registry
      .expose()
      .split("\n")
      .filter((line) => line.startsWith("c_total"));
    assert.deepEqual(lines, ['c_total{who="w0"} 2', 'c_total{who="w1"} 2', 'c_total{who="w2"} 2', 'c_total{who="_overflow"} 14']);
    assert.match(registry.expose(), /aviary_metrics_overflow_total\{metric="c_total"\} 14\n/);
  });

  it("programming errors are rejected immediately", () => {
    const registry = createRegistry();
    registry.counter("c_total", "C.", { labels: ["a"] });
    assert.throws(() => registry.gauge("c_total", "Again."), /already registered/);
    assert.throws(() => registry.gauge("not a name", "X."), /invalid metric name/);
    assert.throws(() => registry.gauge("g", "X.", { labels: ["le-ss"] }), /invalid label name/);
    assert.throws(() => registry.gauge("g", "X.", { labels: ["__own"] }), /invalid label name/);
    assert.throws(() => registry.histogram("h", "X.", [1], { labels: ["le"] }), /invalid label name/);
    for (const bounds of [[], [2, 1], [1, 1], [Number.POSITIVE_INFINITY]])
      assert.throws(() => registry.histogram("h", "X.", bounds), /must be finite and strictly increasing/);
    const family = registry.counter("d_total", "D.", { labels: ["a"] });
    assert.throws(() => family.series(), /needs the labels \(a\)/);
    assert.throws(() => family.series({ b: "1" }), /needs the label a/);
    assert.throws(() => family.series({ a: "1", b: "1" }), /needs the labels/);
  });

  it("every process exposes its memory, CPU time and start time", () => {
    const registry = createRegistry();
    registerProcessMetrics(registry, 1_700_000_000_500);
    const text = registry.expose();
    assert.match(text, /process_start_time_seconds 1700000000\.5\n/);
    assert.ok(Number(/process_resident_memory_bytes (\d+)/.exec(text)?.[1]) > 1_000_000);
    assert.ok(Number(/process_cpu_seconds_total ([\d.]+)/.exec(text)?.[1]) > 0);
  });
});
