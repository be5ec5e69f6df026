import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isoTime, parseIsoTime } from "../../src/contract/iso-time.ts";

test("parseIsoTime inverts isoTime, whichever day was cached", () => {
  const instants = fc.array(fc.integer({ min: Date.UTC(1971, 0), max: Date.UTC(2999, 0) }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(instants, (list) => {
      for (const ms of list) assert.equal(parseIsoTime(isoTime(ms)), ms);
    }),
  );
});

test("a well-formed text is parsed as by Date.parse, whether or not it is a valid time", () => {
  const pad = (width: number, max: number) => fc.integer({ min: 0, max }).map((value) => String(value).padStart(width, "0"));
  const text = fc
    .tuple(pad(4, 9999), pad(2, 19), pad(2, 39), pad(2, 29), pad(2, 69), pad(2, 69), pad(3, 999))
    .map(([year, month, day, hour, minute, second, milli]) => `${year}-${month}-${day}T${hour}:${minute}:${second}.${milli}Z`);
  fc.assert(
    fc.property(text, (value) => {
      assert.equal(parseIsoTime(value), Date.parse(value), value);
    }),
    { examples: [["2026-02-30T10:00:00.000Z"], ["2026-11-21T24:00:00.000Z"], ["2026-13-01T00:00:00.000Z"]] },
  );
});
