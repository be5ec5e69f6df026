import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isTime, readQuery, vectorJson } from "../src/adapters/prometheus-query.ts";

describe("queries", () => {
  it("vector(1) is recognized with any whitespace", () => {
    for (const query of ["vector(1)", " vector( 1 ) ", "vector (1)"]) assert.deepEqual(readQuery(query), { kind: "one" });
  });

  it("the verdict query is recognized with any whitespace, quotes and order", () => {
    const wanted = { kind: "verdict", namespace: "prod", canary: "gw" };
    for (const query of [
      'aviary_verdict{namespace="prod",canary="gw"}',
      ' aviary_verdict { canary = "gw" , namespace = "prod" , } ',
      "aviary_verdict{namespace='prod',canary='gw'}",
    ]) {
      assert.deepEqual(readQuery(query), wanted, query);
    }
    assert.deepEqual(readQuery('aviary_verdict{canary="prod/gw"}'), { kind: "verdict", namespace: undefined, canary: "prod/gw" });
  });

  it("any other query is rejected with the expected form", () => {
    for (const query of [
      "",
      "up",
      "vector(2)",
      "aviary_verdict",
      "aviary_verdict{}",
      'aviary_verdict{namespace="prod"}',
      'aviary_verdict{canary="gw",canary="x"}',
      'aviary_verdict{canary=~"gw"}',
      'aviary_verdict{canary="gw",pod="x"}',
      'aviary_verdict{canary="GW"}',
      'aviary_verdict{canary="a\\"b"}',
      'sum(aviary_verdict{canary="gw"})',
      'aviary_verdict{canary="gw"}[5m]',
      `aviary_verdict{canary="${"x".repeat(2_000)}"}`,
    ]) {
      const read = readQuery(query);
      assert.equal(read.kind, "bad", query);
      assert.match(read.kind === "bad" ? read.text : "", /expected aviary_verdict/);
    }
  });

  it("hostile text of 64 KiB is rejected in linear time", () => {
    for (const piece of ["a", "{", ",", " ", 'canary="', "=", "\\", '"']) {
      const query = `aviary_verdict{${piece.repeat(65_536 / piece.length)}}`;
      assert.equal(readQuery(query).kind, "bad");
    }
  });
});

describe("times", () => {
  it("Unix seconds and RFC 3339 are times", () => {
    for (const time of [
      "1795240267.59905",
      "1795240267",
      "1.795240267e9",
      "2026-11-21T05:52:37Z",
      "2026-11-21T05:52:37.123+01:00",
    ]) {
      assert.ok(isTime(time), time);
    }
    for (const time of ["", "now", "yesterday", "NaN", "Infinity", "-1", "0x10", "2026-11-21", "2026-13-41T05:52:37Z", "1 2"]) {
      assert.ok(!isTime(time), time);
    }
  });
});

describe("a vector", () => {
  it("has one series, one sample, and the sample is a string", () => {
    const answer = JSON.parse(vectorJson({ canary: "gw" }, "0.5", 1_795_240_267, ['a "quoted" warning']));
    assert.deepEqual(answer.data.result, [{ metric: { canary: "gw" }, value: [1_795_240_267, "0.5"] }]);
    assert.deepEqual(answer.warnings, ['a "quoted" warning']);
    assert.equal("warnings" in JSON.parse(vectorJson({}, "1", 1, [])), false);
  });
});
