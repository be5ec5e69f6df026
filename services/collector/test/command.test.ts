import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { describe, it, type TestContext } from "node:test";
import { runCommand } from "@aviary/shared/commands/program.ts";
import { temporaryDirectory } from "@aviary/shared/testing/temporary.ts";
import { probeCommand } from "../src/commands/probe.ts";

async function run(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const code = await runCommand(probeCommand, args, { stdout, stderr, env, signal: new AbortController().signal });
  stdout.end();
  stderr.end();
  return { code, out: await text(stdout), err: await text(stderr) };
}

async function config(test: TestContext, probes: object): Promise<string> {
  const directory = await temporaryDirectory(test);
  const file = join(directory, "collector.yaml");
  await writeFile(file, JSON.stringify({ az: "az-a", fleet: "f", gateway: "g", slice: "stable", probes }));
  return file;
}

describe("aviary collector probe", () => {
  it("prints the signal that would be published, for people and as JSON", async (test) => {
    const file = await config(test, { disk: { path: await temporaryDirectory(test) } });
    const people = await run(["disk", "--config", file]);
    assert.deepEqual([people.code, people.err], [0, ""]);
    assert.match(people.out, /^disk \{\n {2}"used_ratio": /);
    const program = await run(["disk", "--json"], { AVIARY_COLLECTOR_FILE: file });
    const answer = JSON.parse(program.out) as { probe: string; kind: string; bodies: { writable: boolean }[] };
    assert.deepEqual([answer.probe, answer.kind, answer.bodies[0]?.writable], ["disk", "disk", true]);
  });

  it("waits one period before it prints the counts of a counting probe", async (test) => {
    const log = join(await temporaryDirectory(test), "access.jsonl");
    await writeFile(log, "");
    const file = await config(test, { "access-log": { path: log, format: "jsonl", period: "100ms" } });
    const { code, out, err } = await run(["access-log", "--config", file]);
    assert.equal(code, 0, err);
    assert.match(out, /"requests": 0/);
    assert.match(err, /counting for 0\.1 s/);
  });

  it("exits with 1 for a failed probe and with 2 for a usage error", async (test) => {
    const file = await config(test, { rollout: { file: "/absent" } });
    assert.deepEqual(await run(["disk", "--config", file]), {
      code: 1,
      out: "",
      err: `disk: not configured; add probes.disk to ${file}\n`,
    });
    assert.equal((await run(["rollout", "--config", file])).code, 1);
    assert.match(
      (await run(["rollout", "--config", "/absent.yaml"])).err,
      /collector file \/absent\.yaml not found; set AVIARY_COLLECTOR_FILE or --config/,
    );
    assert.match((await run(["nosuch"])).err, /^probe nosuch: expected one of gateway-probes, skills, access-log/);
    for (const args of [[], ["nosuch"], ["disk", "disk"], ["disk", "--nosuch"]]) {
      const { code, err } = await run(args);
      assert.equal(code, 2);
      assert.match(err, /Run `aviary collector probe --help` for usage\.\n$/);
    }
  });
});
