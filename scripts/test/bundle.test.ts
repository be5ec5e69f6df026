/** A bundle runs where nothing is installed: in an empty directory, with Node only. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { bundle, bundleNames } from "../bundle.ts";

const PROJECT = fileURLToPath(new URL("../..", import.meta.url));

describe("bundles", () => {
  let out = "";
  before(async () => {
    out = mkdtempSync(join(tmpdir(), "aviary-bundle-"));
    process.chdir(PROJECT);
    await bundle(bundleNames(), out);
  });
  after(() => rmSync(out, { recursive: true, force: true }));

  for (const [name, expected] of [
    ["collector", "collector.yaml"],
    ["evaluator", "aviary.yaml"],
    ["shim", "aviary.yaml"],
  ] as const) {
    it(`${name} starts, and reports its missing file`, () => {
      const env = { PATH: process.env.PATH ?? "", AVIARY_OPS_PORT: "0", AVIARY_SHIM_PORT: "0" };
      const { status, stdout, stderr } = spawnSync(process.execPath, [join(out, `${name}.mjs`)], {
        cwd: out,
        env,
        encoding: "utf8",
        timeout: 60_000,
      });
      assert.equal(status, 1, stderr);
      assert.match(stdout, new RegExp(expected.replace(".", "\\.")));
      assert.ok(
        statSync(join(out, `${name}.mjs`)).size < 4 * 1024 * 1024,
        "a bundle of more than 4 MiB contains something unintended",
      );
    });
  }

  it("rejects unknown names", async () => {
    await assert.rejects(bundle(["nothing"], out), /cannot bundle nothing; known are collector/);
  });
});
