/**
 * Tracing through the OpenTelemetry API alone. Without an SDK in the process every function here does nothing, cheaply; which SDK, exporter and sampler
 * run is the operator's choice. Spans are for verdicts, promotions and digests, never for single signals: a span costs more than folding the signal does.
 */
import { type Attributes, type Span, SpanStatusCode, type Tracer, trace } from "@opentelemetry/api";

/** The instrumentation scope of all spans of this project. */
const TRACER_NAME = "aviary";

/** The project's tracer; looked up at every call, so that an SDK that registers late is still found. */
function tracer(): Tracer {
  return trace.getTracer(TRACER_NAME);
}

/**
 * Runs `fn` inside a span that ends when `fn` settles, and marks the span failed when it throws; the error is thrown on.
 * Attributes are few and of few values: names, not messages.
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
