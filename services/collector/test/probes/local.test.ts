/** The probes that need no external server: disk, skills, process, deps, rollout, synthetic. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import { hashTree } from "@aviary/shared/fs/tree-hash.ts";
import * as histogram from "@aviary/shared/histogram.ts";
import { freePort } from "@aviary/shared/testing/servers.ts";
import { until } from "@aviary/shared/testing/until.ts";
import { deps } from "../../src/probes/deps.ts";
import { disk } from "../../src/probes/disk.ts";
import { gatewayProcess } from "../../src/probes/process.ts";
import { rollout } from "../../src/probes/rollout.ts";
import { skills } from "../../src/probes/skills.ts";
import { synthetic } from "../../src/probes/synthetic.ts";
import { openProbe, probeContext } from "../probe-context.ts";
import { atEnd, temporaryDirectory } from "../temporary.ts";

async function serve(test: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  atEnd(test, () => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe("the disk probe", () => {
  const read = async (test: TestContext, settings: object) =>
    (await openProbe(test, disk, settings).read()).bodies[0] as SignalBody<"disk">;

  it("reads the real volume and removes its probe file", async (test) => {
    const path = await temporaryDirectory(test);
    const body = await read(test, { path });
    assert.ok(body.used_ratio > 0 && body.used_ratio <= 1 && body.total_bytes > 0);
    assert.equal(body.writable, true);
    assert.deepEqual(await readdir(path), []);
  });

  it("derives the tier from a capacity near 1 or 2 TB, unless configured", async (test) => {
    const path = await temporaryDirectory(test);
    const statfsFile = join(path, "statfs.json");
    const at = async (total_bytes: number, more = {}): Promise<string> => {
      await writeFile(statfsFile, JSON.stringify({ total_bytes, used_ratio: 0.79 }));
      return (await read(test, { path, statfsFile, ...more })).tier;
    };
    assert.equal(await at(994_662_584_320), "1TB");
    assert.equal(await at(1_995_218_165_760), "2TB");
    assert.equal(await at(494_384_795_648), "1TB");
    assert.equal(await at(994_662_584_320, { tier: "2TB" }), "2TB");
  });

  it("reports an unwritable volume regardless of its usage", async (test) => {
    const path = await temporaryDirectory(test);
    const statfsFile = join(path, "statfs.json");
    await writeFile(statfsFile, JSON.stringify({ total_bytes: 2e12, used_ratio: 0.5 }));
    // A directory blocks the probe file's name, because permissions do not restrict root.
    await mkdir(join(path, ".aviary-write-probe-mac-a1", "x"), { recursive: true });
    assert.deepEqual(await read(test, { path, statfsFile }), {
      used_ratio: 0.5,
      total_bytes: 2e12,
      tier: "2TB",
      writable: false,
    });
  });

  it("fails on an invalid statfsFile or a missing path", async (test) => {
    const path = await temporaryDirectory(test);
    const statfsFile = join(path, "statfs.json");
    await writeFile(statfsFile, '{"total_bytes": 1, "used_ratio": 1.5}');
    await assert.rejects(read(test, { path, statfsFile }), /used_ratio": 0 to 1/);
    await assert.rejects(read(test, { path: join(path, "absent") }), { code: "ENOENT" });
  });
});

describe("the skills probe", () => {
  it("reports the hash that a promotion verified, even through a link, and the changed skills", async (test) => {
    const place = await temporaryDirectory(test);
    const release = async (name: string, text: string): Promise<string> => {
      await mkdir(join(place, name, "mail"), { recursive: true });
      await writeFile(join(place, name, "mail", "SKILL.md"), text);
      return (await hashTree(join(place, name))).hash;
    };
    const [one, two] = [await release("one", "1"), await release("two", "2")];
    await symlink("one", join(place, "current"));
    const probe = openProbe(test, skills, { roots: { managed: join(place, "current") } });
    const first = await probe.read();
    assert.deepEqual(first.bodies, [{ pack_hash: one, count: 1, changed: [] }]);
    assert.deepEqual(first.learned, { skillHash: one });
    await rm(join(place, "current"));
    await symlink("two", join(place, "current"));
    assert.deepEqual((await probe.read()).bodies, [{ pack_hash: two, count: 1, changed: ["mail"] }]);
  });

  it("rehashes every file hourly, even with unchanged metadata", async (test) => {
    const place = await temporaryDirectory(test);
    const context = probeContext(test);
    let nowMs = 0;
    const probe = openProbe(
      test,
      skills,
      { roots: { a: place } },
      { ...context, clock: { ...context.clock, monotonicMs: () => nowMs } },
    );
    const path = join(place, "x");
    await writeFile(path, "aaaa");
    await utimes(path, 1_000, 1_000);
    const hash = async (): Promise<string> => ((await probe.read()).bodies[0] as SignalBody<"skills">).pack_hash;
    const before = await hash();
    await writeFile(path, "bbbb");
    await utimes(path, 1_000, 1_000);
    assert.equal(await hash(), before, "time, size and inode are unchanged");
    nowMs += 3_600_000;
    assert.notEqual(await hash(), before);
  });

  it("fails with the reason for a tree that cannot be hashed", async (test) => {
    const place = await temporaryDirectory(test);
    await symlink("/etc", join(place, "x"));
    await assert.rejects(openProbe(test, skills, { roots: { a: place } }).read(), /absolute path/);
  });
});

describe("the process probe", () => {
  it("reports boot id, memory, and restarts by uptime and process id", async (test) => {
    const pidFile = join(await temporaryDirectory(test), "gateway.pid");
    const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
    atEnd(test, () => void child.kill("SIGKILL"));
    await once(child, "spawn");
    const context = probeContext(test);
    const probe = openProbe(test, gatewayProcess, { pidFile }, context);
    const read = async () => (await probe.read()).bodies[0] as SignalBody<"process">;
    assert.deepEqual(await read(), { gateway_boot: null, restarts: 0, rss_bytes: null });
    await writeFile(pidFile, `${child.pid}\n`);
    context.learn({ uptimeMs: 60_000 });
    const up = await read();
    assert.ok((up.rss_bytes ?? 0) > 1_000_000 && up.gateway_boot !== null && up.restarts === 0);
    context.learn({ uptimeMs: 500 });
    const again = await read();
    assert.equal(again.restarts, 1);
    assert.notEqual(again.gateway_boot, up.gateway_boot);
    await writeFile(pidFile, "999999999");
    const other = await read();
    assert.deepEqual([other.restarts, other.rss_bytes], [2, null]);
  });
});

describe("the deps probe", () => {
  it("reports latency per target, and hanging, refusing or failing targets as not ok", async (test) => {
    const tcp = createTcpServer((socket) => socket.destroy());
    tcp.listen(0, "127.0.0.1");
    await once(tcp, "listening");
    atEnd(test, () => tcp.close());
    const web = await serve(test, (request, response) => {
      if (request.url === "/hang") return;
      response.writeHead(request.url === "/bad" ? 500 : 404).end();
    });
    const targets = {
      tcp: `tcp://127.0.0.1:${(tcp.address() as AddressInfo).port}`,
      closed: `tcp://127.0.0.1:${await freePort()}`,
      web: `${web}/any`,
      bad: `${web}/bad`,
      hang: `${web}/hang`,
    };
    const probe = openProbe(test, deps, { targets, answerTimeout: "200ms" });
    const seen = (await probe.read()).bodies[0] as SignalBody<"deps">;
    assert.deepEqual(
      seen.map(({ name, ok }) => `${name} ${ok}`),
      ["tcp true", "closed false", "web true", "bad false", "hang false"],
    );
    for (const { ok, latency_ms } of seen) assert.equal(latency_ms !== null, ok);
    const next = (await probe.read()).bodies[0] as SignalBody<"deps">;
    assert.deepEqual(
      next.map(({ ok }) => ok),
      seen.map(({ ok }) => ok),
      "a dependency that backs off stays not ok",
    );
  });
});

describe("the rollout probe", () => {
  const applied = { canary: "prod/payments-gateway", weight: 10, phase: "Progressing" };

  it("reads a file or a URL", async (test) => {
    const file = join(await temporaryDirectory(test), "rollout.json");
    await writeFile(file, JSON.stringify({ ...applied, more: true }));
    assert.deepEqual((await openProbe(test, rollout, { file }).read()).bodies, [applied]);
    const url = await serve(test, (_request, response) => void response.end(JSON.stringify(applied)));
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
    const url = await serve(test, (_request, response) => void response.writeHead(500).end());
    await assert.rejects(openProbe(test, rollout, { url }).read(), { code: "bad_status" });
  });
});

describe("the synthetic probe", () => {
  it("sends at its rate with its User-Agent, and counts responses, errors and timeouts separately from users", async (test) => {
    let answer: "ok" | "fail" | "hang" = "ok";
    const agents = new Set<string>();
    let asked = 0;
    const url = await serve(test, (request, response) => {
      asked += 1;
      agents.add(request.headers["user-agent"] ?? "");
      if (answer === "hang") return;
      response.writeHead(answer === "ok" ? 200 : 503, { "content-type": "application/json" }).end("{}");
    });
    const probe = openProbe(test, synthetic, { url, rate: 50, answerTimeout: "100ms" });
    const read = async () => (await probe.read()).bodies[0] as SignalBody<"http">;
    const rounds = async (count: number): Promise<void> => {
      const from = asked;
      await until(`${count} more requests were made`, () => asked >= from + count);
    };
    await rounds(5);
    const good = await read();
    assert.ok(good.requests >= 4 && good.errors_5xx === 0 && good.source === "synthetic");
    answer = "fail";
    await rounds(20);
    await read();
    await rounds(5);
    const bad = await read();
    assert.ok(bad.requests >= 4);
    assert.equal(bad.errors_5xx, bad.requests);
    answer = "hang";
    await rounds(20);
    await read();
    await rounds(10);
    const silent = await read();
    assert.ok(silent.requests > 0 && silent.errors_5xx === silent.requests);
    assert.ok((histogram.quantile(histogram.fromWire(silent.latency), 0.5) ?? 0) > 90);
    assert.deepEqual([...agents], ["aviary-synthetic/1"]);
  });

  it("fails on an HTML page or a client error instead of counting it", async (test) => {
    let asked = 0;
    const url = await serve(test, (_request, response) => {
      asked += 1;
      response.writeHead(asked % 2 ? 200 : 401, { "content-type": asked % 2 ? "text/html" : "application/json" }).end("{}");
    });
    const probe = openProbe(test, synthetic, { url, rate: 50 });
    await until("a few requests were sent", () => asked > 4);
    await assert.rejects(probe.read(), { code: "misdirected" });
  });
});
