/** Limits of the shim, all in one place, and the bucket that counts against them. */

export const LIMITS = {
  /** Longest request body that is read. */
  bodyBytes: 64 * 1024,
  /** Of a body that is not wanted, this much is thrown away so that the client sees its answer; then the connection is cut. */
  discardedBytes: 4 * 1024 * 1024,
  /** Deepest nesting of a JSON body. */
  jsonDepth: 8,
  /** Longest request line and headers together. Flagger repeats its Authorization header at every check when a template has both `headers` and a token. */
  headerBytes: 64 * 1024,
  /** A client that has not sent its headers by then, or its whole request, is let go. */
  headersMs: 10_000,
  requestMs: 15_000,
  /** Idle keep-alive connections are closed after this. Longer than any controller's usual interval. */
  keepAliveMs: 90_000,
  /** Open connections, all sources together and one source (an address) alone: one slow source cannot take them all. */
  connections: 4_096,
  connectionsPerSource: 1_024,
  /** A new shim leaves the answers to others until it has read the verdicts, but no longer than this: then a hold is better than no answer. */
  readyAnywayMs: 10_000,
  /** Pause before the bus is followed again after it could not be, or was lost for good. */
  followAgainMs: 1_000,
  /** Live streams to browsers and `aviary watch`. */
  streams: 128,
  /** A stream client that reads so slowly that this much is waiting for it is let go. */
  streamBufferBytes: 1024 * 1024,
  heartbeatMs: 15_000,
  /** How long a hook or an event waits until what it told is stored. */
  storeMs: 4_000,
  /** Control messages that wait for the bus; more are refused. */
  unstored: 256,
  /** Control messages of one canary: this many at once, refilled at `controlPerSecond`. Flagger sends a handful a minute. */
  controlBurst: 120,
  controlPerSecond: 2,
  /** Refused sources: lines in the log, then only counted. */
  refusalBurst: 10,
  refusalPerSecond: 0.2,
  /** Sources whose buckets are remembered. */
  sources: 4_096,
  /** Bytes of a refused request's body that are read to name the canary in the log. */
  refusedBodyBytes: 8 * 1024,
  /** One answer of the history route. */
  historyEntries: 500,
  historyMs: 5_000,
  historyReaders: 4,
} as const;

/** Counts down per key and refills with time; remembers a bounded number of keys, oldest forgotten first. */
export interface Buckets {
  /** Takes one; false when the key's bucket is empty. `nowMs` must not go back. */
  take(key: string, nowMs: number): boolean;
}

export function createBuckets(burst: number, perSecond: number, maxKeys: number): Buckets {
  const buckets = new Map<string, { left: number; atMs: number }>();
  return {
    take(key, nowMs) {
      const known = buckets.get(key);
      const left = known === undefined ? burst : Math.min(burst, known.left + ((nowMs - known.atMs) / 1000) * perSecond);
      buckets.delete(key);
      if (buckets.size >= maxKeys) buckets.delete(buckets.keys().next().value!);
      buckets.set(key, { left: left >= 1 ? left - 1 : left, atMs: nowMs });
      return left >= 1;
    },
  };
}
