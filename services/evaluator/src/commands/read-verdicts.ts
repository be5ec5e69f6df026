/** Verdict records as the stream holds them, oldest first. What this version cannot read is passed over: it is another version's. */
import type { Bus, FollowOptions } from "@aviary/shared/bus/bus.ts";
import { parseVerdictRecord, type VerdictRecord } from "@aviary/shared/contract/verdict.ts";

/** Reads what VERDICTS holds now, from a place on, of all subjects or of these. */
export async function readVerdicts(
  bus: Bus,
  from: FollowOptions["from"],
  subjects: readonly string[] = [],
): Promise<VerdictRecord[]> {
  const records: VerdictRecord[] = [];
  const follower = await bus.follow({
    stream: "VERDICTS",
    subjects,
    from,
    onMessage: (message) => {
      const parsed = parseVerdictRecord(JSON.parse(Buffer.from(message.data).toString()));
      if (parsed.success) records.push(parsed.data);
    },
  });
  await follower.caughtUp;
  await follower.stop();
  return records;
}
