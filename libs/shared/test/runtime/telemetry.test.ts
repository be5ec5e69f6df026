import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { type Span, SpanStatusCode, type Tracer, type TracerProvider, trace } from "@opentelemetry/api";
import { inSpan } from "../../src/runtime/telemetry.ts";

/** Records what happens to each span, as an SDK would. */
function recordingProvider(events: unknown[]): TracerProvider {
  const span = {
    setStatus: (status: unknown) => events.push(["status", status]),
    end: () => events.push(["end"]),
  } as unknown as Span;
  const tracer = {
    startActiveSpan: (name: string, options: { attributes: unknown }, run: (span: Span) => unknown) => {
      events.push(["start", name, options.attributes]);
      return run(span);
    },
  } as unknown as Tracer;
  return { getTracer: () => tracer };
}

describe("inSpan", () => {
  afterEach(() => trace.disable());

  it("returns the value and rethrows the error without an SDK", async () => {
    assert.equal(await inSpan("verdict", { canary: "prod/x" }, async () => 7), 7);
    await assert.rejects(
      inSpan("verdict", {}, async () => {
        throw new Error("inner");
      }),
      /inner/,
    );
  });

  it("ends the span once the function settles", async () => {
    const events: unknown[] = [];
    trace.setGlobalTracerProvider(recordingProvider(events));
    assert.equal(await inSpan("verdict", { canary: "prod/x" }, async () => events.push(["work"])), 2);
    assert.deepEqual(events, [["start", "verdict", { canary: "prod/x" }], ["work"], ["end"]]);
  });

  it("marks the span failed with the error's name and not its message", async () => {
    const events: unknown[] = [];
    trace.setGlobalTracerProvider(recordingProvider(events));
    await assert.rejects(
      inSpan("verdict", {}, async () => {
        throw new TypeError("a secret");
      }),
      /a secret/,
    );
    assert.deepEqual(events.slice(1), [["status", { code: SpanStatusCode.ERROR, message: "TypeError" }], ["end"]]);
  });
});
