import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { createContextKey, propagation, type TextMapPropagator, trace } from "@opentelemetry/api";
import { extractTraceContext, injectTraceContext, inSpan } from "../../src/runtime/telemetry.ts";

const TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const PARENT = createContextKey("parent");

/** What an SDK would register: writes a fixed traceparent, and reads it back into the context. */
const propagator: TextMapPropagator = {
  inject: (_context, carrier, setter) => setter.set(carrier, "traceparent", TRACEPARENT),
  extract: (context, carrier, getter) => context.setValue(PARENT, getter.get(carrier, "traceparent")),
  fields: () => ["traceparent"],
};

describe("telemetry", () => {
  afterEach(() => propagation.disable());

  it("does nothing without an SDK", async () => {
    assert.deepEqual(injectTraceContext({ a: "1" }), { a: "1" });
    assert.equal(trace.getSpanContext(extractTraceContext({ traceparent: TRACEPARENT })), undefined);
    assert.equal(await inSpan("verdict", { canary: "prod/x" }, async () => 7), 7);
    await assert.rejects(
      inSpan("verdict", {}, async () => {
        throw new Error("inner");
      }),
      /inner/,
    );
  });

  it("carries the trace in headers with an SDK, and leaves its argument alone", () => {
    propagation.setGlobalPropagator(propagator);
    const headers = { a: "1" };
    assert.deepEqual(injectTraceContext(headers), { a: "1", traceparent: TRACEPARENT });
    assert.deepEqual(headers, { a: "1" });
    assert.equal(extractTraceContext({ TraceParent: TRACEPARENT }).getValue(PARENT), TRACEPARENT);
    assert.equal(extractTraceContext({ traceparent: [TRACEPARENT, "other"] }).getValue(PARENT), TRACEPARENT);
    assert.equal(extractTraceContext({}).getValue(PARENT), undefined);
  });
});
