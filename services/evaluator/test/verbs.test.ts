import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { LOCAL_MAX_BYTES } from "@aviary/shared/bus/streams.ts";
import type { CommandIo } from "@aviary/shared/commands/command.ts";
import { aReason, aVerdict, type VerdictChange } from "@aviary/shared/testing/builders.ts";
import { RUN_VERBS } from "../../../cli/src/commands/run.ts";
import { statusVerb } from "../../../cli/src/commands/status.ts";
import { STREAM_VERBS } from "../../../cli/src/commands/streams.ts";
import { watchVerb } from "../../../cli/src/commands/watch.ts";
import type { CanaryView, Overview } from "../../../cli/src/shim-client.ts";
import { canaryLines } from "../../../cli/src/verdict-table.ts";
import { recordVerb } from "../src/commands/record.ts";
import { replayVerb } from "../src/commands/replay.ts";

const FLEET_FILE = fileURLToPath(new URL("../../../examples/fleet/config/aviary.yaml", import.meta.url));

/** What a verb reads and writes, with what it wrote. */
function terminal(env: NodeJS.ProcessEnv, signal: AbortSignal = new AbortController().signal) {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const io: CommandIo = { stdout, stderr, env, signal };
  const textOf = (stream: PassThrough): string => (stream.read() as Buffer | null)?.toString() ?? "";
  return { io, written: () => textOf(stdout), complained: () => textOf(stderr) };
}

const viewOf = (change: VerdictChange): CanaryView => ({ ...aVerdict(change).body, stale: false, lanes: [] });

test("watch tells what is new, not every window's figures", async (t) => {
  const over = aReason("over_5xx", { text: "2 of 50 requests failed." });
  const told = [
    viewOf({ verdict: "hold", reasons: [over], id: "1" }),
    viewOf({ verdict: "hold", reasons: [{ ...over, text: "3 of 60 requests failed." }], id: "2" }),
    viewOf({ verdict: "pass", id: "3" }),
    viewOf({ verdict: "pass", id: "4" }),
  ];
  const stop = new AbortController();
  let asked = 0;
  const server = createServer((_, response) => {
    const canary = told[Math.min(asked++, told.length - 1)]!;
    const overview: Overview = {
      now: canary.at,
      evaluator: { lease_age_ms: 0, bus: "connected", server: "" },
      canaries: [canary],
    };
    // The answer after the last one is asked for when the last one was shown.
    if (asked > told.length) stop.abort();
    response.end(JSON.stringify(overview));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const env = { AVIARY_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, AVIARY_TOKEN: "x" };
  const { io, written } = terminal(env, stop.signal);
  assert.equal(await watchVerb.run([], io), 0);
  const lines = written().trimEnd().split("\n");
  assert.equal(lines.length, 3, lines.join("\n"));
  assert.match(lines[0]!, /^HOLD {2}prod\/payments-gateway/);
  assert.match(lines[1]!, /2 of 50/);
  assert.match(lines[2]!, /^PASS/);
});

test("what the shim refuses is told in its own words, with where the token comes from", async (t) => {
  const server = createServer((_, response) => {
    response.statusCode = 401;
    response.end(JSON.stringify({ status: "error", errorType: "unauthorized", error: "a valid token is needed" }));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { io, complained } = terminal({ AVIARY_URL: url, AVIARY_TOKEN: "x" });
  assert.equal(await statusVerb.run([], io), 1);
  assert.equal(complained(), `${url}/api/v1/canaries: 401, a valid token is needed; AVIARY_TOKEN holds what was sent\n`);
});

test("a failed run that is over says so", () => {
  const plain = (change: VerdictChange): string => canaryLines(viewOf(change), (_, text) => text)[0]!;
  assert.match(plain({ verdict: "fail" }), /run 0123456789ab failed, weight/);
  assert.match(plain({ verdict: "fail", run: { canary_active: false } }), /failed and over, weight/);
});

test("streams compare a local fleet's broker with small caps, and refuse replicas that no cluster has", async () => {
  const print = STREAM_VERBS.find((verb) => verb.name === "streams print")!;
  const capOf = async (env: NodeJS.ProcessEnv): Promise<number> => {
    const { io, written } = terminal(env);
    assert.equal(await print.run(["--fleet", FLEET_FILE], io), 0);
    const { streams } = JSON.parse(written()) as { streams: { name: string; maxBytes: number }[] };
    return streams.find((stream) => stream.name === "INPUTS")!.maxBytes;
  };
  assert.equal(await capOf({ AVIARY_LOCAL_STREAMS: "1" }), LOCAL_MAX_BYTES.INPUTS);
  assert.ok((await capOf({})) > LOCAL_MAX_BYTES.INPUTS);
  const wrong = terminal({});
  assert.equal(await print.run(["--fleet", FLEET_FILE, "--replicas", "two"], wrong.io), 2);
  assert.match(wrong.complained(), /--replicas two: expected 1, 3 or 5/);
});

test("replay names a recording that is not there", async () => {
  const { io, complained } = terminal({});
  assert.equal(await replayVerb.run(["/nowhere/case", "--fleet", FLEET_FILE], io), 1);
  assert.match(complained(), /^\/nowhere\/case: found nothing there, expected a recording or a case folder\n$/);
});

test("record writes over nothing", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "aviary-record-"));
  t.after(() => rm(directory, { recursive: true }));
  const kept = join(directory, "note.md");
  await writeFile(kept, "an older case");
  const { io, complained } = terminal({});
  const into = (out: string): Promise<number> =>
    recordVerb.run(["--since", "1h", "--out", out, "--note", "x", "--fleet", FLEET_FILE], io);
  assert.equal(await into(directory), 2);
  assert.match(complained(), /there is something in this folder already; name a new one/);
  assert.equal(await into(kept), 2);
  assert.match(complained(), /there is a file in the way/);
});

test("maintenance of a gateway that does not exist is refused, with those that do", async () => {
  const verb = RUN_VERBS.find(({ name }) => name === "run maintenance")!;
  const { io, complained } = terminal({});
  const args = ["prod/payments-gateway", "--gateway", "mac-z9", "--reason", "disk swap", "--fleet", FLEET_FILE];
  assert.equal(await verb.run(args, io), 1);
  assert.match(complained(), /has no gateway mac-z9 in payments: mac-a1, mac-a2, mac-b1/);
});

test("record refuses a policy that the case folder could not hold, and writes nothing", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "aviary-record-"));
  t.after(() => rm(directory, { recursive: true }));
  await mkdir(join(directory, "config"));
  await writeFile(join(directory, "strict.yaml"), "");
  const fleet = (await readFile(FLEET_FILE, "utf8")).replaceAll(/policy: [^\s,}]+/g, "policy: ../strict.yaml");
  const path = join(directory, "config", "aviary.yaml");
  await writeFile(path, fleet);
  const { io, complained } = terminal({});
  const out = join(directory, "case");
  assert.equal(await recordVerb.run(["--since", "1h", "--out", out, "--note", "a test", "--fleet", path], io), 2);
  assert.match(complained(), /the policy \.\.\/strict\.yaml is not below the fleet file's folder/);
  assert.equal(existsSync(out), false);
});
