/** Reads verdict records from the stream, oldest first. */
import type { Bus, FollowOptions } from "@aviary/shared/bus/bus.ts";
import { scanStream } from "@aviary/shared/bus/scan-stream.ts";
import { parseVerdictRecord, type VerdictRecord } from "@aviary/shared/contract/verdict.ts";

/** The current records of VERDICTS. Skips records of other versions that this one cannot parse. */
export async function readVerdicts(
  bus: Bus,
  from: FollowOptions["from"],
  subjects: readonly string[] = [],
): Promise<VerdictRecord[]> {
  const records: VerdictRecord[] = [];
  await scanStream(bus, {
    stream: "VERDICTS",
    subjects,
    from,
    onMessage: (message) => {
      const parsed = parseVerdictRecord(JSON.parse(Buffer.from(message.data).toString()));
      if (parsed.success) records.push(parsed.data);
    },
  });
  return records;
}
