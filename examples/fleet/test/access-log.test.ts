import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { type AccessRecord, openAccessLog } from "../src/access-log.ts";

const RECORD: AccessRecord = {
  ts: "2026-11-21T10:00:00.000Z",
  status: 200,
  duration_ms: 12,
  method: "GET",
  uri: "/",
  host: "gw.example",
  user_agent: "test",
  content_type: "application/json",
  complete: true,
};

const LINE = `${JSON.stringify(RECORD)}\n`;

describe("the access log of the example fleet", () => {
  it("is rotated at its size limit, which includes what earlier processes wrote", (test) => {
    const folder = mkdtempSync(join(tmpdir(), "aviary-access-log-"));
    test.after(() => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, "access.jsonl");
    const write = (records: number): void => {
      const log = openAccessLog(path, 2 * LINE.length);
      for (let index = 0; index < records; index += 1) log.write(RECORD);
      log.close();
    };
    write(2);
    write(1);
    assert.equal(statSync(path).size, 3 * LINE.length, "the limit is not exceeded before the third line");
    write(1);
    assert.equal(statSync(`${path}.1`).size, 3 * LINE.length);
    assert.equal(readFileSync(path, "utf8"), LINE);
  });
});
