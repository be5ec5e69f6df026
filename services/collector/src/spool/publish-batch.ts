/** Publishing a batch of records concurrently, for no longer than the connection lasts. */
import type { Bus } from "@aviary/shared/bus/bus.ts";
import { faultCode, isRetryable } from "@aviary/shared/runtime/faults.ts";
import type { SpoolRecord } from "./record.ts";

/** The part of the bus that the collector uses. */
export type SignalPublisher = Pick<Bus, "status" | "onStatus" | "publish">;

/** `undefined`: not confirmed, publish again. */
type PublishResult = "stored" | "rejected" | undefined;

export interface BatchResult {
  /** Records from the start of the batch that need no further attempt: stored, or permanently rejected. */
  readonly done: number;
  readonly stored: number;
  readonly rejected: number;
}

export interface BatchOptions {
  readonly bus: SignalPublisher;
  readonly records: readonly SpoolRecord[];
  /** Resolves when the outbox closes; waiting for the broker then ends. */
  readonly closing: Promise<void>;
  readonly onFailure: (kind: "retryable" | "rejected", error: unknown) => void;
}

/** Publishes the batch. Never throws: records after the first unconfirmed one are to be published again, under the same ids. */
export async function publishBatch({ bus, records, closing, onFailure }: BatchOptions): Promise<BatchResult> {
  const disconnected = Promise.withResolvers<void>();
  const stopListening = bus.onStatus((status) => {
    if (status !== "connected") disconnected.resolve();
  });
  if (bus.status !== "connected") disconnected.resolve();
  const results = records.map((): PublishResult => undefined);
  const attempts = records.map(async (record, index) => {
    try {
      await bus.publish({ subject: record.subject, id: record.id, data: record.data });
      results[index] = "stored";
    } catch (error) {
      if (isRetryable(error) || faultCode(error) === "bus_closed") return onFailure("retryable", error);
      results[index] = "rejected";
      onFailure("rejected", error);
    }
  });
  await Promise.race([Promise.all(attempts), disconnected.promise, closing]);
  stopListening();
  return countResults(results);
}

function countResults(results: readonly PublishResult[]): BatchResult {
  const unconfirmed = results.indexOf(undefined);
  const done = results.slice(0, unconfirmed === -1 ? results.length : unconfirmed);
  const rejected = done.filter((result) => result === "rejected").length;
  return { done: done.length, stored: done.length - rejected, rejected };
}
