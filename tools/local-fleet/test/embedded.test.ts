/**
 * The fleet in one process: it starts, a run opens automatically, a faulty release fails, a zone that is cut off is reported, and
 * everything stops.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { VerdictBody } from "@aviary/shared/contract/verdict.ts";
import { until } from "@aviary/shared/testing/until.ts";
import { heal, injectFault, release } from "../../../examples/fleet/src/faults.ts";
import { PROJECT } from "../compose.ts";
import { lockDirectory } from "../directory-lock.ts";
import { startEmbedded } from "../embedded.ts";
import { createFlaggerClient } from "../flagger-client.ts";

describe("embedded fleet", () => {
  let directory = "";
  let fleet: Awaited<ReturnType<typeof startEmbedded>>;
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "aviary-embedded-"));
    fleet = await startEmbedded({
      directory,
      fleetFile: join(PROJECT, "examples/fleet/config/aviary.yaml"),
      fragments: join(PROJECT, "examples/fleet/config/conf.d"),
      fresh: true,
      seed: 1,
      requestsPerSecond: 40,
      weight: 50,
      print: (line) => assert.fail(line),
    });
  });
  after(async () => {
    await fleet.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  const verdictBy = async (what: string, condition: (body: VerdictBody) => boolean): Promise<VerdictBody> => {
    let body: VerdictBody | undefined;
    const seen = async (): Promise<boolean> => {
      body = await createFlaggerClient(fleet.plan, fleet.tokens).verdict();
      return condition(body);
    };
    await until(what, seen, { deadlineMs: 90_000, pollMs: 200, describe: () => JSON.stringify(body) });
    return body!;
  };

  it("has six gateways, and no run while canary and stable agree", async () => {
    const body = await verdictBy("no run exists", ({ gateway, reasons }) => gateway.fresh === 6 && reasons[0]?.code === "no_run");
    assert.equal(body.gateway.expected, 6);
    assert.equal(body.verdict, "hold");
  });

  it("opens a run for a new release, reports a zone that is cut off, and fails a broken release", async () => {
    release(fleet.plan, "canary", "2026.9.7");
    await verdictBy("a run is judged", ({ run }) => run?.state === "active");
    injectFault(fleet.plan, "cut", { az: "az-c" });
    const cut = await verdictBy("a zone is stale", ({ reasons }) => reasons[0]?.code === "stale");
    assert.equal(cut.reasons[0]?.az, "az-c");
    heal(fleet.plan);
    injectFault(fleet.plan, "5xx", { slice: "canary" });
    const failed = await verdictBy("the run has failed", ({ verdict }) => verdict === "fail");
    assert.equal(failed.reasons[0]?.code, "over_5xx");
    assert.equal(failed.run?.state, "failed");
  });

  it("writes the token files with mode 0600", () => {
    const files = ["tokens.yaml", ...Object.keys(fleet.tokens).map((caller) => `${caller}.token`)];
    for (const name of files) assert.equal(statSync(join(directory, "config", name)).mode & 0o777, 0o600, name);
  });

  it("stores only hashes in the shim's token file", () => {
    const file = readFileSync(join(directory, "config", "tokens.yaml"), "utf8");
    const tokens = Object.values(fleet.tokens);
    assert.ok(tokens.length > 0);
    for (const token of tokens) assert.ok(!file.includes(token));
    assert.match(file, /sha256/);
  });
});

describe("one fleet per directory", () => {
  it("rejects a second fleet while the first runs, and takes over from one that has exited", () => {
    const directory = mkdtempSync(join(tmpdir(), "aviary-lock-"));
    try {
      const release = lockDirectory(directory);
      assert.throws(() => lockDirectory(directory), /already running here/);
      release();
      lockDirectory(directory)();
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
