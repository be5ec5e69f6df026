/**
 * Tracing through the OpenTelemetry API only. Without an SDK in the process, every function here is a cheap no-op; the operator
 * chooses SDK, exporter and sampler. Spans cover verdicts, never single signals: a span costs more than
 * applying the signal.
 */
import { type Attributes, type Span, SpanStatusCode, type Tracer, trace } from "@opentelemetry/api";

/** The instrumentation scope of all spans of this project. */
const TRACER_NAME = "aviary";

/** The project's tracer; looked up at every call, so that an SDK registered later is found. */
function tracer(): Tracer {
  return trace.getTracer(TRACER_NAME);
}

/**
 * Runs `fn` inside a span that ends when `fn` settles, and marks the span failed if `fn` throws; the error is rethrown.
 * Attributes are few and low-cardinality: names, not messages.
 */
export async function inSpan<T>(name: string, attributes: Attributes, fn: (span: Span) => Promise<T>): Promise<T> {
  return tracer().startActiveSpan(name, { attributes }, async (span) => {
    try {
      return await fn(span);
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.name : "thrown" });
      throw error;
    } finally {
      span.end();
    }
  });
}
