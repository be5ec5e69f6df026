import assert from "node:assert/strict";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { appendFile, open, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import * as histogram from "@aviary/shared/histogram.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import { atEnd, temporaryDirectory } from "@aviary/shared/testing/temporary.ts";
import type { ProbeOutcome } from "../../src/probe.ts";
import { accessLog } from "../../src/probes/access-log.ts";
import { openProbe, probeContext } from "../probe-context.ts";

const START = Date.UTC(2026, 10, 21, 10, 0, 0);
const http = (outcome: ProbeOutcome): SignalBody<"http"> => outcome.bodies[0] as SignalBody<"http">;
const total = (body: SignalBody<"http">): number => histogram.count(histogram.fromWire(body.latency));

/** A line of a request that finished at `atMs` after `START`. */
const lineAt = (atMs: number, change: object = {}): string =>
  `${JSON.stringify({ ts: new Date(START + atMs).toISOString(), status: 200, duration_ms: 10, user_agent: "app/1", ...change })}\n`;

/** A JSONL log and a probe started at `START`. */
async function setUp(test: TestContext, settings: object = {}, log: Partial<Logger> = {}) {
  const path = join(await temporaryDirectory(test), "access.jsonl");
  await writeFile(path, "");
  const context = probeContext(test);
  const probe = openProbe(
    test,
    accessLog,
    { path, format: "jsonl", ...settings },
    { ...context, clock: { ...context.clock, now: () => START }, log: { ...context.log, ...log } },
  );
  const write = (atMs: number, change: object = {}): Promise<void> => appendFile(path, lineAt(atMs, change));
  // The first read waits until the tail is open.
  await probe.read(START);
  return { path, probe, log: write, context };
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

  it("counts every line in one class", async (test) => {
    const { path, probe, log, context } = await setUp(test);
    await log(1);
    await log(1, { status: 404 });
    await log(1, { status: 502 });
    await log(1, { complete: false });
    for (const status of [408, 444, 499]) await log(1, { status });
    await log(1, { user_agent: "aviary-synthetic/1", status: 500 });
    await log(1, { user_agent: "kube-probe/1.31" });
    await log(1, { status: 101, duration_ms: 3_600_000 });
    await log(1, { content_type: "text/event-stream", duration_ms: 10_800_000 });
    await appendFile(path, "half a li\n");
    await log(1, { duration_ms: 10_800_000 });
    await log(-60_000);
    const { latency: _, ...counts } = http(await probe.read(START + 5_000));
    assert.deepEqual(counts, {
      source: "access-log",
      requests: 4,
      errors_5xx: 2,
      errors_4xx: 1,
      aborted: 3,
      probes: 2,
      streams: 2,
      unread: 2,
    });
    assert.equal(context.counted.get("left_out_lines"), 1);
  });

  it("keeps event streams out of the p99 of requests", async (test) => {
    const { probe, log } = await setUp(test);
    for (let count = 0; count < 97; count += 1) await log(1, { duration_ms: 20 });
    for (let count = 0; count < 3; count += 1) await log(1, { duration_ms: 10_800_000, content_type: "text/event-stream" });
    const { latency } = http(await probe.read(START + 5_000));
    assert.ok((histogram.quantile(histogram.fromWire(latency), 0.99) ?? 0) < 21);
  });

  it("counts streams of configured paths and requests of configured health checkers separately", async (test) => {
    const { probe, log } = await setUp(test, { longLivedPaths: ["/v1/events"], healthCheckers: ["Acme-Monitor/"] });
    await log(1, { uri: "/v1/events?since=7", duration_ms: 10_800_000 });
    await log(1, { user_agent: "acme-monitor/7" });
    await log(1, { user_agent: "kube-probe/1.31" });
    const { streams, probes, requests, unread } = http(await probe.read(START + 5_000));
    assert.deepEqual({ streams, probes, requests, unread }, { streams: 1, probes: 1, requests: 1, unread: 0 });
  });

  it("counts a request that took at least as long as configured as unread", async (test) => {
    const { probe, log } = await setUp(test, { longest: "2s" });
    await log(1, { duration_ms: 1_999 });
    await log(1, { duration_ms: 2_000 });
    const { requests, unread } = http(await probe.read(START + 5_000));
    assert.deepEqual({ requests, unread }, { requests: 1, unread: 1 });
    await log(6_000, { duration_ms: 41_000_000 });
    await assert.rejects(probe.read(START + 10_000), { code: "wrong_format", message: /longer than "longest"/ });
  });

  it("fails while no line has a User-Agent, and counts those lines as unread once a line has one", async (test) => {
    const { probe, log } = await setUp(test);
    await log(1, { user_agent: undefined });
    await log(1, { user_agent: undefined });
    await assert.rejects(probe.read(START + 5_000), { code: "wrong_format", message: /User-Agent/ });
    await log(6_000);
    await log(6_000, { user_agent: undefined });
    const { requests, unread } = http(await probe.read(START + 10_000));
    assert.deepEqual({ requests, unread }, { requests: 2, unread: 2 });
  });

  it("counts requests without a User-Agent if clients are known to send none", async (test) => {
    const { probe, log } = await setUp(test, { requireUserAgent: false });
    await log(1, { user_agent: undefined });
    assert.equal(http(await probe.read(START + 5_000)).requests, 1);
  });

  it("counts lines that have not been read yet, and then reads them", async (test) => {
    const { path, probe } = await setUp(test, { budget: "64KiB" });
    await appendFile(path, lineAt(1).repeat(2_000));
    const first = http(await probe.read(START + 5_000));
    assert.equal(first.requests + (first.unread ?? 0), 2_000);
    assert.ok(first.requests > 0 && (first.unread ?? 0) > 0);
    let requests = first.requests;
    for (let reading = 2; reading <= 4; reading += 1) requests += http(await probe.read(START + 5_000 * reading)).requests;
    assert.equal(requests, 2_000);
  });

  it("counts requests after the clock was set back before its start", async (test) => {
    const { probe, log } = await setUp(test);
    await log(1_000);
    assert.equal(http(await probe.read(START + 5_000)).requests, 1);
    const hourAgo = -3_600_000;
    await log(hourAgo + 6_000, { status: 502 });
    assert.equal(http(await probe.read(START + hourAgo + 10_000)).errors_5xx, 1);
  });

  it("accepts the line that newsyslog writes into a new file", async (test) => {
    const { path, probe, log } = await setUp(test);
    await rename(path, `${path}.0`);
    await appendFile(path, "Nov 26 00:00:00 mac-a1 newsyslog[2662]: logfile turned over due to size>5120K\n");
    const quiet = http(await probe.read(START + 5_000));
    assert.deepEqual([quiet.requests, quiet.unread], [0, 0]);
    await log(6_000, { status: 502 });
    assert.equal(http(await probe.read(START + 10_000)).errors_5xx, 1);
  });

  it("counts the lines of a proxy that never reopens its log, and logs a warning once", async (test) => {
    const warnings: unknown[] = [];
    const { path, probe } = await setUp(test, {}, { warn: (fields: unknown) => warnings.push(fields) });
    const writer = await open(path, "a");
    atEnd(test, () => writer.close());
    await rename(path, `${path}.0`);
    await writeFile(path, "");
    for (let reading = 1; reading <= 6; reading += 1) {
      await writer.write(lineAt(1, { status: 503 }).repeat(4));
      assert.equal(http(await probe.read(START + 5_000 * reading)).errors_5xx, 4);
    }
    assert.deepEqual(warnings, [{ event: "log.not_reopened", path }]);
  });

  it("counts only the configured hosts", async (test) => {
    const { probe, log } = await setUp(test, { hosts: ["canary.example"] });
    await log(1, { host: "canary.example" });
    await log(1, { host: "stable.example" });
    await log(1);
    const { requests, unread } = http(await probe.read(START + 5_000));
    assert.deepEqual({ requests, unread }, { requests: 1, unread: 1 }, "a line without a host may belong to this gateway");
  });

  it("fails on a log of another format", async (test) => {
    const { path, probe } = await setUp(test);
    await appendFile(path, "10.0.0.7 - - [21/Nov/2026:06:28:50 +0100]\n");
    await assert.rejects(probe.read(START + 5_000), {
      code: "wrong_format",
      message: /none of 1 new lines .* could be read as jsonl: not a JSON object/,
    });
  });

  it("counts single malformed lines separately", async (test) => {
    const { path, probe, log, context } = await setUp(test);
    await appendFile(path, "half a li\n");
    await log(1);
    const { requests, unread } = http(await probe.read(START + 5_000));
    assert.deepEqual({ requests, unread }, { requests: 1, unread: 1 });
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

describe("the configuration of the access-log probe", () => {
  const problems = (settings: object): string[] => {
    const result = accessLog.configSchema.safeParse({ path: "/var/log/access.log", ...settings });
    return result.success ? [] : result.error.issues.map((issue) => issue.message);
  };
  const fields = { time: "t", status: "s", duration: "d", userAgent: "ua" };

  it("is rejected if lines could not be read without guessing", () => {
    for (const [settings, message] of [
      [{ format: "json", durationUnit: "ms" }, /"fields"/],
      [{ format: "json", fields }, /"durationUnit"/],
      [
        { format: "json", durationUnit: "ms", fields: { ...fields, startTime: "t0" } },
        /exactly one of "fields.time" and "fields.startTime"/,
      ],
      [{ format: "json", durationUnit: "ms", fields: { ...fields, time: undefined } }, /exactly one/],
      [{ format: "json", durationUnit: "ms", fields, hosts: ["canary.example"] }, /"fields.host"/],
      [{ format: "nginx", hosts: ["canary.example"] }, /\$host/],
      [{ format: "nginx", durationUnit: "ms" }, /"durationUnit" with the formats json and caddy only/],
      [{ format: "caddy", fields }, /"fields" with the format json only/],
      [{ format: "nginx", logFormat: "$msec $status $request_time $http_user_agent $host" }, /quotes around \$http_user_agent/],
      [{ format: "json", fields: "t", hosts: 7 }, /"durationUnit"/],
    ] as const)
      assert.ok(
        problems(settings).some((text) => message.test(text)),
        `${JSON.stringify(settings)}: ${problems(settings).join("; ")}`,
      );
    for (const settings of [
      { format: "caddy", durationUnit: "ms", hosts: ["canary.example"] },
      { format: "json", durationUnit: "us", fields: { ...fields, host: "h" }, hosts: ["canary.example"] },
      { format: "traefik" },
      { format: "nginx" },
    ])
      assert.deepEqual(problems(settings), [], JSON.stringify(settings));
  });

  it("selects Traefik's fields, and the fields of a JSON log", async (test) => {
    for (const [settings, line] of [
      [
        { format: "traefik" },
        { time: "2026-11-21T10:00:01Z", DownstreamStatus: 502, Duration: 12_000_000, "request_User-Agent": "app/1" },
      ],
      [
        { format: "json", durationUnit: "us", fields: { time: "t", status: "s", duration: "d", userAgent: "ua" } },
        { t: "2026-11-21T10:00:01Z", s: 502, d: 12_000, ua: "app/1" },
      ],
    ] as const) {
      const { path, probe } = await setUp(test, settings);
      await appendFile(path, `${JSON.stringify(line)}\n`);
      const { errors_5xx, latency } = http(await probe.read(START + 5_000));
      const p50Ms = histogram.quantile(histogram.fromWire(latency), 0.5) ?? 0;
      assert.equal(errors_5xx, 1);
      assert.ok(Math.abs(p50Ms - 12) < 0.1, String(p50Ms));
    }
  });
});
