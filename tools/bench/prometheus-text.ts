/**
 * The facts of one http signal as a Prometheus exporter would expose them, and the bytes of one scrape on the wire. Labels that
 * Prometheus adds itself (instance, zone, fleet) are omitted. Buckets are cumulative, so an exporter omits none; here only those
 * from the fastest to the slowest request are counted, although an exporter cannot determine them and repeats its whole range.
 */
import type { SignalOf } from "@aviary/shared/contract/signal.ts";
import { DEFAULT_SCALE } from "@aviary/shared/histogram.ts";
import { lowerEdge } from "@aviary/shared/histogram-buckets.ts";

/** The request of Prometheus 2, and the response headers of an exporter. */
const REQUEST_HEAD =
  "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:18789\r\nUser-Agent: Prometheus/2.42.0\r\nAccept: application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\nAccept-Encoding: gzip\r\nX-Prometheus-Scrape-Timeout-Seconds: 5\r\n\r\n";
const RESPONSE_HEAD =
  "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nDate: Sat, 21 Nov 2026 10:00:00 GMT\r\nContent-Length: 10000\r\n\r\n";

export function exposition(signal: SignalOf<"http">): string {
  const { source, requests, errors_5xx, latency } = signal.body;
  const lines: string[] = [];
  const metric = (name: string, type: string, help: string, samples: readonly string[]): void =>
    void lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...samples);
  const release = `version="${signal.gateway_version}",skill_hash="${signal.skill_hash}",fragment_hash="${signal.fragment_hash}"`;
  metric("gateway_info", "gauge", "Release of the gateway.", [`gateway_info{slice="${signal.slice}",${release}} 1`]);
  metric("gateway_requests_total", "counter", "Requests.", [`gateway_requests_total{source="${source}"} ${requests}`]);
  metric("gateway_errors_total", "counter", "5xx responses.", [`gateway_errors_total{source="${source}"} ${errors_5xx}`]);
  const buckets: string[] = [];
  let below = latency.zero;
  latency.counts.forEach((times, k) => {
    below += times;
    const edge = lowerEdge((latency.offset + k + 1) << (DEFAULT_SCALE - latency.scale), DEFAULT_SCALE);
    buckets.push(`gateway_latency_ms_bucket{source="${source}",le="${Number(edge.toPrecision(6))}"} ${below}`);
  });
  metric("gateway_latency_ms", "histogram", "Latency of requests in milliseconds.", [
    ...buckets,
    `gateway_latency_ms_bucket{source="${source}",le="+Inf"} ${below}`,
    `gateway_latency_ms_sum{source="${source}"} ${below * 30}`,
    `gateway_latency_ms_count{source="${source}"} ${below}`,
  ]);
  return `${lines.join("\n")}\n`;
}

/** Bytes of one scrape, both directions. */
export const scrapeBytes = (signal: SignalOf<"http">): number =>
  REQUEST_HEAD.length + RESPONSE_HEAD.length + Buffer.byteLength(exposition(signal));
