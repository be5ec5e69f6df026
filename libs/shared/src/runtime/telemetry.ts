/**
 * Tracing through the OpenTelemetry API alone. Without an SDK in the process every function here does nothing, cheaply; which SDK, exporter and sampler
 * run is the operator's choice. Spans are for verdicts, promotions and digests, never for single signals: a span costs more than folding the signal does.
 */
import {
  type Attributes,
  type Context,
  context,
  propagation,
  type Span,
  SpanStatusCode,
  type Tracer,
  trace,
} from "@opentelemetry/api";

/** The instrumentation scope of all spans of this project. */
export const TRACER_NAME = "aviary";

/** The project's tracer; looked up at every call, so that an SDK that registers late is still found. */
export function tracer(): Tracer {
  return trace.getTracer(TRACER_NAME);
}

/** The given headers and, where a trace is active and an SDK runs, its W3C `traceparent` and `tracestate`. The argument is not changed. */
export function injectTraceContext(headers: Readonly<Record<string, string>> = {}): Record<string, string> {
  const out = { ...headers };
  propagation.inject(context.active(), out);
  return out;
}

/** The context that the sender of these headers was in; the active context when they carry none. Header names are compared without case. */
export function extractTraceContext(headers: Readonly<Record<string, string | readonly string[] | undefined>>): Context {
  return propagation.extract(context.active(), headers, {
    keys: (carrier) => Object.keys(carrier),
    get: (carrier, key) => {
      const name = Object.keys(carrier).find((candidate) => candidate.toLowerCase() === key.toLowerCase());
      const value = name === undefined ? undefined : carrier[name];
      return typeof value === "string" ? value : value?.[0];
    },
  });
}

/**
 * Runs `fn` inside a span that ends when `fn` settles, and marks the span failed when it throws; the error is thrown on.
 * `parent` comes from `extractTraceContext`. Attributes are few and of few values: names, not messages.
 */
export async function inSpan<T>(
  name: string,
  attributes: Attributes,
  fn: (span: Span) => Promise<T>,
  parent: Context = context.active(),
): Promise<T> {
  return tracer().startActiveSpan(name, { attributes }, parent, async (span) => {
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
