/** Slow, excessive and malformed clients must not affect the others. */
import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { after, before, describe, it } from "node:test";
import { aVerdict } from "@aviary/shared/testing/builders.ts";
import { until } from "@aviary/shared/testing/until.ts";
import { LIMITS } from "../src/limits.ts";
import { flaggerBody, type ShimHarness, startHarness, TOKENS } from "./harness.ts";

let harness: ShimHarness;
before(async () => {
  harness = await startHarness({ verdicts: [aVerdict()], timeouts: { headersMs: 1_500, requestMs: 2_000 } });
});
after(() => harness[Symbol.asyncDispose]());

interface Raw {
  readonly socket: Socket;
  received: string;
  closed: boolean;
}

function open(): Promise<Raw> {
  return new Promise((resolve, reject) => {
    const socket = connect(harness.shim.port, "127.0.0.1");
    const raw: Raw = { socket, received: "", closed: false };
    socket.on("data", (chunk) => {
      raw.received += chunk.toString("latin1");
    });
    socket.on("close", () => {
      raw.closed = true;
    });
    socket.on("error", reject).on("connect", () => {
      socket.off("error", reject).on("error", () => {});
      resolve(raw);
    });
  });
}

describe("bodies", () => {
  it("of 1 MiB are rejected with a readable 413 on every kind of route", async () => {
    const big = "x".repeat(1024 * 1024);
    for (const path of ["/flagger/gate/rollback", "/flagger/events", "/rollouts/analysis", "/flagger/api/v1/query"]) {
      const { status, body } = await harness.post(path, big, path.startsWith("/rollouts") ? "rollouts" : "flagger");
      assert.deepEqual([status, body.errorType], [413, "too_large"], path);
    }
    const chunked = await harness
      .get("/flagger/gate/rollback", "flagger", {
        method: "POST",
        body: new ReadableStream({
          pull(controller) {
            controller.enqueue(new TextEncoder().encode("x".repeat(32 * 1024)));
          },
        }),
        duplex: "half",
      } as RequestInit)
      .then(
        ({ status }) => status,
        () => "cut",
      );
    assert.ok(chunked === 413 || chunked === "cut", `an endless body ends: ${chunked}`);
  });

  it("that are not JSON, or too deep, return 400 on gates and events", async () => {
    const deep = `${'{"a":'.repeat(LIMITS.jsonDepth + 1)}1${"}".repeat(LIMITS.jsonDepth + 1)}`;
    for (const body of ["", "{", "null", "[1,2]", deep, "\u0000"]) {
      for (const path of ["/flagger/gate/confirm-rollout", "/flagger/events"])
        assert.equal((await harness.post(path, body)).status, 400);
    }
  });

  it("with prototype keys change no object", async () => {
    const body = `{"__proto__":{"rollout":"x"},"constructor":{"prototype":{"name":"y"}},"rollout":"payments-gateway","namespace":"prod"}`;
    assert.equal((await harness.post("/rollouts/analysis", body, "rollouts")).body.verdict, "pass");
    assert.equal(({} as Record<string, unknown>).rollout, undefined);
  });
});

describe("headers", () => {
  it("of almost 64 KiB are read, longer ones are 431 with JSON", async () => {
    const send = async (bytes: number) => {
      const raw = await open();
      raw.socket.write(
        `GET /flagger/metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${TOKENS.flagger}\r\nX-Long: ${"a".repeat(bytes)}\r\nConnection: close\r\n\r\n`,
      );
      await until("it is answered", () => raw.received.includes("\r\n\r\n"));
      return raw.received;
    };
    assert.match(await send(60 * 1024), /^HTTP\/1\.1 200 /);
    const rejected = await send(70 * 1024);
    assert.match(rejected, /^HTTP\/1\.1 431 /);
    assert.match(rejected, /"errorType":"bad_request"/);
  });

  it("that are not HTTP get 400, and the connection closes", async () => {
    const raw = await open();
    raw.socket.write("HELO mail.example\r\n\r\n");
    await until("the connection is closed", () => raw.closed);
    assert.match(raw.received, /^HTTP\/1\.1 400 /);
  });
});

describe("slow clients", () => {
  it("do not delay others, and are disconnected", async () => {
    const slow = await Promise.all(Array.from({ length: 200 }, open));
    for (const { socket } of slow) socket.write("POST /flagger/gate/rollback HTTP/1.1\r\nHost: x\r\nX-Slow: ");
    const answers = await Promise.all(Array.from({ length: 50 }, () => harness.get("/flagger/metrics", "flagger")));
    assert.ok(answers.every(({ status }) => status === 200));
    await until("the slow clients are disconnected", () => slow.every(({ closed }) => closed));
    assert.match(slow[0]?.received ?? "", /^HTTP\/1\.1 408 /);
  });

  it("that open a connection in advance may use it later, without a 408 before their first request", async () => {
    const ahead = await open();
    const slow = await open();
    slow.socket.write("GET /flagger/metrics HTTP/1.1\r\n");
    await until("the slow request is disconnected", () => slow.closed);
    ahead.socket.write(`GET /flagger/metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${TOKENS.flagger}\r\n\r\n`);
    await until("it is answered", () => ahead.received !== "");
    assert.match(ahead.received, /^HTTP\/1\.1 200 /);
    ahead.socket.destroy();
  });

  it("that never finish a body are disconnected", async () => {
    const raw = await open();
    const head = `POST /flagger/gate/rollback HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${TOKENS.flagger}\r\nContent-Length: 100\r\n\r\n{`;
    raw.socket.write(head);
    await until("it is closed", () => raw.closed);
  });

  it("that share a source cannot exhaust all connections", async () => {
    const many = await Promise.all(Array.from({ length: LIMITS.connectionsPerSource + 20 }, () => open().catch(() => undefined)));
    await until("the surplus is closed", () => many.filter((raw) => raw === undefined || raw.closed).length >= 20);
    for (const raw of many) raw?.socket.destroy();
    await until(
      "there is room again",
      async () => (await harness.get("/flagger/metrics", "flagger").catch(() => undefined))?.status === 200,
    );
  });
});

describe("many at once", () => {
  it("requests of thirty runs with five metrics and two hundred hooks all succeed", async () => {
    const metrics = Array.from({ length: 150 }, (_, index) =>
      harness.get(`/rollouts/analysis${["", "/errors", "/latency", "/queue", "/disk"][index % 5]}`, "rollouts"),
    );
    const hooks = Array.from({ length: 200 }, () => harness.post("/flagger/gate/rollout", flaggerBody()));
    const answers = await Promise.all([...metrics, ...hooks]);
    assert.ok(answers.every(({ status }) => status === 200));
    assert.ok((await harness.stored("INPUTS")).length <= 2, "a repeated hook is one message");
  });
});
