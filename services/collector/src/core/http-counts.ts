/** Accumulates finished requests into the body of an http signal. */
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import * as histogram from "@aviary/shared/histogram.ts";

/** An answered request from any source. */
export interface AnsweredRequest {
  readonly status: number;
  /** Undefined if unknown; the request then has no latency. */
  readonly durationMs: number | undefined;
  /** Status 500 to 599, or cut off. */
  readonly isServerError: boolean;
}

export interface HttpCounts {
  requests: number;
  errors5xx: number;
  errors4xx: number;
  readonly latency: histogram.Histogram;
}

export function newCounts(): HttpCounts {
  return { requests: 0, errors5xx: 0, errors4xx: 0, latency: histogram.create() };
}

/** Counts one request in place. */
export function countRequest(counts: HttpCounts, { status, durationMs, isServerError }: AnsweredRequest): void {
  counts.requests += 1;
  if (isServerError) counts.errors5xx += 1;
  else if (status >= 400 && status <= 499) counts.errors4xx += 1;
  if (durationMs !== undefined) histogram.insert(counts.latency, durationMs);
}

export function toHttpBody(source: SignalBody<"http">["source"], counts: HttpCounts): SignalBody<"http"> {
  return {
    source,
    requests: counts.requests,
    errors_5xx: counts.errors5xx,
    errors_4xx: counts.errors4xx,
    latency: histogram.toWire(counts.latency),
  };
}
