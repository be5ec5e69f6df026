/** A reporter for `node --test` that writes counts and skipped tests as one JSON document; `test.ts` reads it. */
import type { TestEvent } from "node:test/reporters";

export interface TestOutcome {
  pass: number;
  fail: number;
  skipped: { readonly name: string; readonly file: string; readonly reason: string }[];
}

export default async function* outcome(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const counted: TestOutcome = { pass: 0, fail: 0, skipped: [] };
  for await (const event of source) {
    if (event.type !== "test:pass" && event.type !== "test:fail") continue;
    const { name, file = "", skip, details } = event.data;
    if (details.type === "suite") {
      if (skip !== undefined && skip !== false) counted.skipped.push({ name, file, reason: String(skip) });
    } else if (skip !== undefined && skip !== false) counted.skipped.push({ name, file, reason: String(skip) });
    else if (event.type === "test:pass") counted.pass += 1;
    else counted.fail += 1;
  }
  yield JSON.stringify(counted);
}
