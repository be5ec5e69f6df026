/** Accumulates finished requests into the body of an http signal. */
import type { HttpSource, SignalBody } from "@aviary/shared/contract/signal.ts";
import * as histogram from "@aviary/shared/histogram.ts";

/** A finished request from any source. */
export interface FinishedRequest {
  readonly status: number;
  readonly durationMs: number;
}

export interface HttpCounts {
  requests: number;
  errors5xx: number;
  readonly latency: histogram.Histogram;
}

export function newCounts(): HttpCounts {
  return { requests: 0, errors5xx: 0, latency: histogram.create() };
}

/** Counts one request in place. Only 500 to 599 counts as an error. */
export function countRequest(counts: HttpCounts, request: FinishedRequest): void {
  counts.requests += 1;
  if (request.status >= 500 && request.status <= 599) counts.errors5xx += 1;
  histogram.insert(counts.latency, request.durationMs);
}

export function toHttpBody(source: HttpSource, counts: HttpCounts): SignalBody<"http"> {
  return { source, requests: counts.requests, errors_5xx: counts.errors5xx, latency: histogram.toWire(counts.latency) };
}

/** Adds `more` to `counts` in place. */
export function addCounts(counts: HttpCounts, more: HttpCounts): void {
  counts.requests += more.requests;
  counts.errors5xx += more.errors5xx;
  histogram.merge(counts.latency, more.latency);
}
