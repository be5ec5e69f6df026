import assert from "node:assert/strict";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { appendFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import * as histogram from "@aviary/shared/histogram.ts";
import type { ProbeOutcome } from "../../src/probe.ts";
import { accessLog } from "../../src/probes/access-log.ts";
import { openProbe, probeContext } from "../probe-context.ts";
import { atEnd, temporaryDirectory } from "../temporary.ts";

const START = Date.UTC(2026, 10, 21, 10, 0, 0);
const http = (outcome: ProbeOutcome): SignalBody<"http"> => outcome.bodies[0] as SignalBody<"http">;
const total = (body: SignalBody<"http">): number => histogram.count(histogram.fromWire(body.latency));

/** A JSONL log and a probe started at `START`. */
async function setUp(test: TestContext, settings: object = {}) {
  const path = join(await temporaryDirectory(test), "access.jsonl");
  await writeFile(path, "");
  const context = probeContext(test);
  const probe = openProbe(
    test,
    accessLog,
    { path, format: "jsonl", ...settings },
    { ...context, clock: { ...context.clock, now: () => START } },
  );
  const log = (atMs: number, change: object = {}): Promise<void> =>
    appendFile(
      path,
      `${JSON.stringify({ ts: new Date(START + atMs).toISOString(), status: 200, duration_ms: 10, user_agent: "app/1", ...change })}\n`,
    );
  // The first read waits until the tail is open.
  await probe.read(START);
  return { path, probe, log, context };
}

describe("the access-log probe", () => {
  it("counts requests, 5xx and one latency per request", async (test) => {
    const { probe, log } = await setUp(test);
    for (const status of [200, 404, 499, 500, 503, 599, 600]) await log(1_000, { status, duration_ms: status });
    const body = http(await probe.read(START + 5_000));
    assert.deepEqual([body.source, body.requests, body.errors_5xx, total(body)], ["access-log", 6, 3, 6]);
    assert.deepEqual([body.errors_4xx, body.aborted], [1, 1]);
    assert.equal(http(await probe.read(START + 10_000)).requests, 0);
  });

  it("counts the requests of its hosts, in every spelling of a Host header", async (test) => {
    const { probe, log } = await setUp(test, { hosts: ["Canary.example.", "other.example:8443"] });
    for (const host of ["canary.example", "CANARY.example:443", "canary.example.", "canary.example.:8080", "other.example:8443"])
      await log(1_000, { host });
    for (const host of ["other.example", "other.example:443", "xcanary.example", "canary.example.evil", undefined])
      await log(1_000, { host });
    assert.equal(http(await probe.read(START + 5_000)).requests, 5);
  });

  it("keeps the requests of a reading that timed out, and reports them with the next one", async (test) => {
    const path = join(await temporaryDirectory(test), "access.jsonl");
    await writeFile(path, "");
    const deadline = new AbortController();
    const context = probeContext(test, {
      // The lines have been counted by then, and the reading has not returned.
      count: (what, by) => void (what === "lines" && by > 0 && deadline.abort(new Error("timed out"))),
    });
    const probe = accessLog.open(accessLog.configSchema.parse({ path, format: "jsonl" }), context);
    atEnd(test, () => probe[Symbol.asyncDispose]());
    const read = (signal: AbortSignal) => probe.read({ atMs: Date.now(), periodMs: 5_000 }, signal);
    const never = new AbortController().signal;
    await read(never);
    const line = { ts: new Date().toISOString(), status: 500, duration_ms: 10, user_agent: "app/1" };
    await appendFile(path, `${JSON.stringify(line)}\n`.repeat(3));
    await assert.rejects(read(deadline.signal), /timed out/);
    const body = http(await read(never));
    assert.deepEqual([body.requests, body.errors_5xx], [3, 3]);
  });

  it("counts a request once: in its period, or in the next signal when its line is late", async (test) => {
    const { probe, log } = await setUp(test);
    await log(4_999);
    await log(5_000);
    assert.equal(http(await probe.read(START + 5_000)).requests, 1);
    await log(2_000, { status: 500 });
    await log(7_000);
    const second = http(await probe.read(START + 10_000));
    assert.deepEqual([second.requests, second.errors_5xx], [3, 1]);
    assert.equal(http(await probe.read(START + 15_000)).requests, 0);
  });

  it("ignores requests that finished before the start", async (test) => {
    const { probe, log } = await setUp(test);
    await log(-1);
    await log(0);
    assert.equal(http(await probe.read(START + 5_000)).requests, 1);
  });

  it("ignores synthetic requests and WebSockets", async (test) => {
    const { probe, log } = await setUp(test);
    await log(1, { user_agent: "aviary-synthetic/1", status: 500 });
    await log(1, { status: 101, duration_ms: 3_600_000 });
    await log(1);
    const body = http(await probe.read(START + 5_000));
    assert.deepEqual([body.requests, body.errors_5xx], [1, 0]);
  });

  it("counts only the configured hosts", async (test) => {
    const { probe, log } = await setUp(test, { hosts: ["canary.example"] });
    await log(1, { host: "canary.example" });
    await log(1, { host: "stable.example" });
    await log(1);
    assert.equal(http(await probe.read(START + 5_000)).requests, 1);
  });

  it("fails on a log of another format", async (test) => {
    const { path, probe } = await setUp(test);
    await appendFile(path, "10.0.0.7 - - [21/Nov/2026:06:28:50 +0100]\n");
    await assert.rejects(probe.read(START + 5_000), {
      code: "wrong_format",
      message: /none of 1 new lines .* could be read as jsonl: not a JSON object/,
    });
  });

  it("counts single bad lines separately", async (test) => {
    const { path, probe, log, context } = await setUp(test);
    await appendFile(path, "half a li\n");
    await log(1);
    assert.equal(http(await probe.read(START + 5_000)).requests, 1);
    assert.equal(context.counted.get("unreadable_lines"), 1);
  });

  it("includes the requests of a failed reading in the next signal", async (test) => {
    const { path, probe, log } = await setUp(test);
    await log(1);
    await rename(path, `${path}.1`);
    assert.equal(http(await probe.read(START + 5_000)).requests, 1);
    await appendFile(`${path}.1`, "");
    assert.equal(http(await probe.read(START + 10_000)).requests, 0);
    await assert.rejects(probe.read(START + 15_000), { code: "no_such_file" });
    await log(16_000);
    assert.equal(http(await probe.read(START + 20_000)).requests, 1);
  });
});

it("a burst of 100 MB is counted completely, in bounded steps and memory", async (test) => {
  const budget = 16 * 2 ** 20;
  const { path, probe, context } = await setUp(test, { budget: "16MiB" });
  const line = `${JSON.stringify({ ts: new Date(START + 1_000).toISOString(), status: 200, duration_ms: 12, user_agent: "app/1", uri: "x".repeat(400) })}\n`;
  const block = line.repeat(1_000);
  const blocks = Math.ceil((100 * 2 ** 20) / block.length);
  const out = createWriteStream(path, { flags: "a" });
  for (let n = 0; n < blocks; n++) if (!out.write(block)) await once(out, "drain");
  out.end();
  await once(out, "finish");
  const { size } = await stat(path);
  assert.ok(size >= 100 * 2 ** 20);

  const before = process.memoryUsage();
  let requests = 0;
  let readings = 0;
  let largest = 0;
  while (requests < blocks * 1_000) {
    readings += 1;
    requests += http(await probe.read(START + 5_000 * readings)).requests;
    const { heapUsed, external } = process.memoryUsage();
    largest = Math.max(largest, heapUsed + external - before.heapUsed - before.external);
    assert.ok(requests <= Math.ceil((readings * budget) / line.length) + readings, "a reading exceeded its budget");
  }
  assert.equal(requests, blocks * 1_000);
  assert.equal(readings, Math.ceil(size / budget));
  assert.equal(context.counted.get("readings_behind"), readings - 1);
  // The file is 100 MB; garbage between two collections stays far below that.
  assert.ok(largest < 96 * 2 ** 20, `memory grew by ${Math.round(largest / 2 ** 20)} MiB`);
});
