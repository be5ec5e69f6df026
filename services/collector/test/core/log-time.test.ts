import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readDuration, readGoDuration, readInstant } from "../../src/core/log-time.ts";

const AT = Date.UTC(2026, 10, 21, 5, 28, 50, 250);

describe("an instant", () => {
  it("may be a number of seconds, milliseconds, microseconds or nanoseconds, also as text", () => {
    for (const value of [AT / 1_000, AT, AT * 1_000, AT * 1_000_000, String(AT / 1_000), `${AT}`])
      assert.equal(Math.round(readInstant(value) ?? 0), AT, String(value));
  });

  it("may be ISO 8601 or the Common Log Format, in any zone", () => {
    for (const text of [
      "2026-11-21T05:28:50.250Z",
      "2026-11-21T05:28:50.250Z".toLowerCase().replace("z", "Z").replace("t", "T"),
      "2026-11-21T06:28:50.250+0100",
      "2026-11-21T06:28:50.250999+01:00",
      "2026-11-20T23:58:50,25-05:30",
    ])
      assert.equal(readInstant(text), AT, text);
    assert.equal(readInstant("21/Nov/2026:06:28:50 +0100"), AT - 250);
    assert.equal(readInstant("21/Nov/2026:00:28:50 -0500"), AT - 250);
    assert.equal(readInstant("2026-11-21T05:28:50Z"), AT - 250);
  });

  it("is not read without its zone, because the machine's zone would be a guess", () => {
    for (const text of ["2026/11/21 05:28:50", "2026-11-21T05:28:50", "2026-11-21", "Nov 21 05:28:50", "5:28AM"])
      assert.equal(readInstant(text), undefined, text);
  });

  it("is not read from any other text", () => {
    for (const value of [
      0,
      -1,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      null,
      undefined,
      {},
      "",
      "-",
      "1e9",
      "21/Foo/2026:06:28:50 +0100",
      "2026-13-45T99:00:00Z",
    ])
      assert.equal(readInstant(value), undefined, String(value));
  });
});

describe("a duration", () => {
  it("is converted from its unit", () => {
    assert.deepEqual(
      [readDuration(0.125, "s"), readDuration(125, "ms"), readDuration("125000", "us"), readDuration(125_000_000, "ns")].map(
        (ms) => Math.round(ms ?? 0),
      ),
      [125, 125, 125, 125],
    );
  });

  it("is a finite number of at least 0", () => {
    for (const value of [-1, Number.NaN, "-", "", "1s", null, undefined, true]) assert.equal(readDuration(value, "s"), undefined);
  });

  it("may be a text with units, as Go prints it", () => {
    for (const [text, ms] of [
      ["12.5ms", 12.5],
      ["340.25µs", 0.34025],
      ["1m2.5s", 62_500],
      ["2h0m0s", 7_200_000],
      ["0s", 0],
      ["17ns", 0.000017],
    ] as const)
      assert.equal(readGoDuration(text), ms, text);
    for (const text of ["", "5", "ms", "1 s", "-1s", "1d"]) assert.equal(readGoDuration(text), undefined, text);
  });
});
