import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { createLogger, type LoggerOptions } from "../../src/runtime/logger.ts";
import { HIDDEN, redactText, redactValue } from "../../src/runtime/redact.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";

function capture(options: Partial<LoggerOptions> = {}) {
  const lines: string[] = [];
  const log = createLogger({
    service: "shim",
    clock: manualClock(),
    level: "debug",
    write: (line) => lines.push(line),
    ...options,
  });
  return { log, lines, last: (): Record<string, unknown> => JSON.parse(lines.at(-1) ?? "null") };
}

describe("log lines", () => {
  it("are JSON with time, level, service, subsystem and fields", () => {
    const { log, lines, last } = capture();
    log.child("routes", { az: "az-a" }).child("gate", { az: "az-b" }).warn({ canary: "prod/x" }, "closed");
    assert.deepEqual(last(), {
      level: "warn",
      time: "2026-11-01T00:00:00.000Z",
      service: "shim",
      pid: process.pid,
      az: "az-b",
      subsystem: "routes/gate",
      canary: "prod/x",
      msg: "closed",
    });
    assert.equal(lines[0]?.match(/"az"/g)?.length, 1, "no key occurs twice in one line");
    assert.ok(lines[0]?.endsWith("\n"));
  });

  it("below the level are not written", () => {
    const { log, lines } = capture({ level: "warn" });
    log.info("quiet");
    log.child("x").debug({ a: 1 }, "quiet");
    log.error("loud");
    assert.equal(lines.length, 1);
  });

  it("contain errors with code and causes", () => {
    const { log, last } = capture();
    log.error({ err: Object.assign(new Error("outer", { cause: new TypeError("inner") }), { code: "ECONNREFUSED" }) }, "failed");
    const err = last().err as Record<string, unknown>;
    assert.equal(err.message, "outer");
    assert.equal(err.code, "ECONNREFUSED");
    assert.equal((err.cause as Record<string, unknown>).type, "TypeError");
    assert.match(String(err.stack), /logger\.test\.ts/);
  });

  it("contain the message literally", () => {
    const { log, last } = capture();
    log.info({ a: 1 }, "100 %s of %d");
    assert.equal(last().msg, "100 %s of %d");
  });

  it("are one short line on a terminal, with control characters escaped", () => {
    const { log, lines } = capture({ pretty: true });
    log.child("io").info({ az: "az-a", note: "two words", n: 3 }, "hello\n\u001b[31mred\u009b");
    assert.deepEqual(lines, ['00:00:00.000 INFO  shim/io hello\\x0a\\x1b[31mred\\x9b az=az-a note="two words" n=3\n']);
  });
});

describe("values", () => {
  it("never throw, for any value, and stay small", () => {
    const loop: Record<string, unknown> = { a: 1 };
    loop.self = loop;
    const trap = {
      get bad(): never {
        throw new Error("no");
      },
    };
    const wide = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`k${index}`, index]));
    const { log, lines } = capture();
    log.info(
      {
        loop,
        trap,
        wide,
        big: 10n,
        fn: () => 1,
        when: new Date(Number.NaN),
        raw: Buffer.from("x"),
        map: new Map([["a", new Set([1])]]),
      },
      "odd",
    );
    assert.equal(lines.length, 1);
    assert.ok((lines[0]?.length ?? 0) < 20_000);
    fc.assert(
      fc.property(
        fc.anything({
          withBigInt: true,
          withDate: true,
          withMap: true,
          withSet: true,
          withTypedArray: true,
          withNullPrototype: true,
        }),
        (value) => {
          assert.doesNotThrow(() => JSON.stringify(redactValue(value)));
        },
      ),
    );
  });

  it("keep harmless text", () => {
    const harmless = {
      tokenId: "ab12cd34",
      url: "http://host:8080/path?x=1@2",
      msg: "token id ab12cd34, 3 tokens left",
      hasToken: true,
      password: null,
    };
    assert.deepEqual(redactValue(harmless), harmless);
  });

  it("are truncated", () => {
    const cut = redactText("x".repeat(100_000));
    assert.ok(cut.length < 8_300 && cut.endsWith("(100000 characters)"));
  });

  it("are written in linear time for adversarial text", () => {
    const evil = [
      "a".repeat(65_536),
      "token".repeat(13_000),
      `password${"\\".repeat(65_000)}`,
      "a://".repeat(16_000),
      `bearer${" ".repeat(65_000)}`,
      "-----BEGIN PRIVATE KEY".repeat(3_000),
      "eyJ".repeat(20_000),
    ];
    for (const text of evil) assert.ok(redactText(text).length <= 8_300);
  });
});

/** Ways in which a secret can reach a log line. */
const CARRIERS: readonly ((secret: string) => { fields: Record<string, unknown>; message: string })[] = [
  (s) => ({ fields: {}, message: `calling with Authorization: Bearer ${s}` }),
  (s) => ({ fields: {}, message: `curl -H 'authorization: bearer ${s}' http://x` }),
  (s) => ({ fields: {}, message: `{"headers":{"authorization":"Bearer ${s}"}}` }),
  (s) => ({ fields: {}, message: JSON.stringify({ body: JSON.stringify({ password: s }) }) }),
  (s) => ({ fields: {}, message: `GET /keda/metrics?lane=a&api_key=${encodeURIComponent(s)}&x=1` }),
  (s) => ({ fields: {}, message: `cannot reach nats://aviary:${encodeURIComponent(s)}@nats:4222/` }),
  (s) => ({ fields: {}, message: `cannot reach redis://${encodeURIComponent(s)}@host` }),
  (s) => ({ fields: {}, message: `Authorization: Basic ${Buffer.from(`user:${s}`).toString("base64")}` }),
  (s) => ({ fields: {}, message: `OPENCLAW_GATEWAY_TOKEN=${s} openclaw gateway run` }),
  (s) => ({ fields: {}, message: `posted to https://hooks.slack.com/services/T0/B0/${encodeURIComponent(s)}` }),
  (s) => ({ fields: { err: new Error(`401 for Bearer ${s}`, { cause: new Error(`password=${s}`) }) }, message: "failed" }),
  (s) => ({ fields: { err: new AggregateError([new Error(`token: ${s}`)], "all") }, message: "failed" }),
  (s) => ({
    fields: { request: { headers: { Authorization: [`Bearer ${s}`, s], "X-API-Key": s, cookie: `a=${s}` } } },
    message: "refused",
  }),
  (s) => ({ fields: { rawHeaders: ["Host", "x", "X-Api-Key", s, "Proxy-Authorization", `Basic ${s}`] }, message: "refused" }),
  (s) => ({
    fields: { config: { smtp: { user: "me", password: s }, hmacSecret: s, clientSecret: { value: s } } },
    message: "read",
  }),
  (s) => ({
    fields: { url: new URL(`https://u:${encodeURIComponent(s)}@host/`), list: [[{ gatewayToken: s }]] },
    message: "call",
  }),
  (s) => ({ fields: { entries: new Map([["token", s]]), toJSON: { toJSON: () => ({ secret: s }) } }, message: "map" }),
];

describe("secrets are redacted", () => {
  // Characters that may occur in a header or a password; long enough not to occur by chance.
  const secret = fc
    .string({ minLength: 12, maxLength: 40, unit: fc.constantFrom(..."ABCXYZabcxyz0123456789-._~+/=!$*:@") })
    .filter((text) => !HIDDEN.includes(text) && /^[A-Za-z0-9]/.test(text));
  const encodings = (text: string): string[] => [
    text,
    encodeURIComponent(text),
    Buffer.from(`user:${text}`).toString("base64").replace(/=+$/, ""),
  ];

  for (const pretty of [false, true]) {
    it(`over 17 carriers, ${pretty ? "readable" : "JSON"} form`, () => {
      const { log, lines } = capture({ pretty });
      const noise = fc.string({ maxLength: 20, unit: fc.constantFrom("a", " ", '"', "'", "\\", "{", ",", "&", "\n", "=", ":") });
      fc.assert(
        fc.property(
          secret,
          fc.nat(CARRIERS.length - 1),
          noise,
          fc.constantFrom("info", "error", "child"),
          (text, index, around, how) => {
            const { fields, message } = CARRIERS[index]!(text);
            const target = how === "child" ? log.child("sub", fields) : log;
            target[how === "error" ? "error" : "info"](fields, `${around} ${message} ${around}`);
            const line = lines.splice(0).join("");
            for (const form of encodings(text)) assert.ok(!line.includes(form), `carrier ${index} lets ${form} through: ${line}`);
          },
        ),
        { numRuns: 50_000 },
      );
    });
  }
});
