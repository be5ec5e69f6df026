/** Limits of the shim, and the token buckets that enforce the rates. */

export const LIMITS = {
  /** Maximum size of a request body. */
  bodyBytes: 64 * 1024,
  /**
   * How much of a rejected body is read and discarded so that the client can read the response; beyond that the connection is
   * closed.
   */
  discardedBytes: 4 * 1024 * 1024,
  /** Maximum nesting of a JSON body. */
  jsonDepth: 8,
  /**
   * Request line and headers together. Flagger adds one more Authorization header per check when a template has both `headers`
   * and a token.
   */
  headerBytes: 64 * 1024,
  /** Deadlines for receiving the headers and the whole request; a slower client is disconnected. */
  headersMs: 10_000,
  requestMs: 15_000,
  /** Idle keep-alive connections are closed after this time, which exceeds the usual interval of every controller. */
  keepAliveMs: 90_000,
  /** Open connections in total and per source address: one slow source cannot exhaust the total. */
  connections: 4_096,
  connectionsPerSource: 1_024,
  /** A new shim is not ready until it has read the verdicts, for at most this long. After that, a hold is better than no answer. */
  catchUpLimitMs: 10_000,
  /** Delay before a subscription that failed or ended is retried. */
  resubscribeMs: 1_000,
  /** Open event streams (browsers, `aviary watch`). */
  eventStreams: 128,
  /** A stream client with more unread bytes than this is disconnected. */
  streamBufferBytes: 1024 * 1024,
  heartbeatMs: 15_000,
  /** How long a webhook waits for its control message to be stored. */
  storeMs: 4_000,
  /** Control messages kept while the broker does not store them; beyond that the oldest is dropped, with an error in the log. */
  keptMessages: 256,
  retryStoreMs: 1_000,
  /** Writes in flight to the bus; further ones fail immediately. */
  pendingWrites: 256,
  /** Control messages per canary: a burst, refilled at `controlPerSecond`. Flagger sends a handful per minute. */
  controlBurst: 120,
  controlPerSecond: 2,
  /** Log lines per source of rejected requests; further rejections are only counted. */
  rejectionLogBurst: 10,
  rejectionLogsPerSecond: 0.2,
  /** Sources with a bucket; beyond that the oldest is dropped. */
  sources: 4_096,
  /** Bytes of a rejected request's body that are read to name the canary in the log. */
  rejectedBodyBytes: 8 * 1024,
  /** Limits of the history route: entries per response, time per read, concurrent reads. */
  historyEntries: 500,
  historyMs: 5_000,
  historyReaders: 4,
} as const;

/** Token buckets by key; keeps a bounded number of keys, dropping the oldest. */
export interface Buckets {
  /** Takes one token; false when the key's bucket is empty. `nowMs` is monotonic. */
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
