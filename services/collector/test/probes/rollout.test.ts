import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { temporaryDirectory } from "@aviary/shared/testing/temporary.ts";
import { rollout } from "../../src/probes/rollout.ts";
import { openProbe } from "../probe-context.ts";
import { serveHttp } from "../serve-http.ts";

describe("the rollout probe", () => {
  const applied = { canary: "prod/payments-gateway", weight: 10, phase: "Progressing" };

  it("reads a file or a URL", async (test) => {
    const file = join(await temporaryDirectory(test), "rollout.json");
    await writeFile(file, JSON.stringify({ ...applied, more: true }));
    assert.deepEqual((await openProbe(test, rollout, { file }).read()).bodies, [applied]);
    const url = await serveHttp(test, (_request, response) => void response.end(JSON.stringify(applied)));
    assert.deepEqual((await openProbe(test, rollout, { url }).read()).bodies, [applied]);
  });

  it("fails on a missing or malformed document", async (test) => {
    const file = join(await temporaryDirectory(test), "rollout.json");
    await assert.rejects(openProbe(test, rollout, { file }).read(), { code: "ENOENT" });
    for (const text of [
      "",
      "{",
      "[]",
      JSON.stringify({ ...applied, weight: 101 }),
      JSON.stringify({ ...applied, pad: "x".repeat(20_000) }),
    ]) {
      await writeFile(file, text);
      await assert.rejects(openProbe(test, rollout, { file }).read(), { code: "bad_shape" });
    }
    const url = await serveHttp(test, (_request, response) => void response.writeHead(500).end());
    await assert.rejects(openProbe(test, rollout, { url }).read(), { code: "bad_status" });
  });
});
