/** A bundle needs nothing but Node: it runs in an empty directory. */
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

  it("reports a Node that is too old before it runs anything", () => {
    for (const [version, isSupported] of [
      ["20.20.2", false],
      ["22.17.1", false],
      ["22.18.0", true],
      ["24.0.0", true],
    ] as const) {
      const versions = `Object.defineProperty(process, "versions", { value: { ...process.versions, node: "${version}" } })`;
      const words = ["--import", `data:text/javascript,${encodeURIComponent(versions)}`, join(out, "aviary.mjs"), "--version"];
      const { status, stderr } = spawnSync(process.execPath, words, { cwd: out, encoding: "utf8", timeout: 60_000 });
      assert.equal(status, isSupported ? 0 : 1, `${version}: ${stderr}`);
      if (!isSupported) assert.match(stderr, new RegExp(`^Aviary needs Node 22\\.18 or newer; this is ${version} `));
    }
  });

  it("has no default local fleet: outside a checkout, the fleet's directory must be named", () => {
    const words = [join(out, "aviary.mjs"), "fleet", "status"];
    const { status, stderr } = spawnSync(process.execPath, words, { cwd: out, encoding: "utf8", timeout: 60_000 });
    assert.equal(status, 1);
    assert.equal(stderr, "not inside an Aviary checkout; select the local fleet with --directory <folder>\n");
  });

  it("rejects unknown names", async () => {
    await assert.rejects(bundle(["nothing"], out), /cannot bundle nothing; known are collector/);
  });
});
