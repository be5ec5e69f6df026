import assert from "node:assert/strict";
import { test } from "node:test";
import { isNewEnough } from "../fetch-node.mjs";

test("Node is supported from 22.18 on", () => {
  const cases: [string, boolean][] = [
    ["v18.20.8", false],
    ["22.17.1", false],
    ["v22.18.0", true],
    ["v24.0.0", true],
    ["26.10.0", true],
  ];
  for (const [version, wanted] of cases) assert.equal(isNewEnough(version), wanted, version);
});
