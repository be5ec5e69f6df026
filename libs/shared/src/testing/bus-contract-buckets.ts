/** The bus contract for buckets. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Bus } from "../bus/bus.ts";
import { faultCode } from "../runtime/faults.ts";
import { until } from "./until.ts";

const textOf = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : Buffer.from(value).toString();

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "none";
  } catch (error) {
    return faultCode(error);
  }
}

/** Registers the tests. */
export function bucketContract(bus: () => Bus): void {
  test("a key has its latest value, and absent is absent", async () => {
    const bucket = await bus().bucket("lane");
    assert.equal(await bucket.get("value.a"), undefined);
    const first = await bucket.put("value.a", "1");
    const second = await bucket.put("value.a", Uint8Array.of(0, 255));
    assert.ok(second > first);
    const before = await bus().brokerTime();
    const entry = await bucket.get("value.a");
    assert.deepEqual([entry?.key, [...(entry?.value ?? [])], entry?.revision], ["value.a", [0, 255], second]);
    assert.ok(entry !== undefined && Number.isInteger(entry.storedAtMs) && entry.storedAtMs <= before);
  });

  test("update writes only at the given revision", async () => {
    const bucket = await bus().bucket("lease");
    const created = await bucket.update("cas", "1", 0);
    assert.equal(await codeOf(bucket.update("cas", "x", 0)), "conflict");
    assert.equal(await codeOf(bucket.update("cas", "x", created + 1000)), "conflict");
    const updated = await bucket.update("cas", "2", created);
    assert.equal(await codeOf(bucket.update("cas", "x", created)), "conflict");
    const entry = await bucket.get("cas");
    assert.deepEqual([textOf(entry?.value), entry?.revision], ["2", updated]);
  });

  test("a deleted key is absent for get, keys, and update at revision 0", async () => {
    const bucket = await bus().bucket("lease");
    const created = await bucket.put("gone", "1");
    await bucket.put("stays", "1");
    await bucket.delete("gone");
    assert.equal(await bucket.get("gone"), undefined);
    assert.deepEqual(
      (await bucket.keys()).filter((key) => key === "gone" || key === "stays"),
      ["stays"],
    );
    assert.equal(await codeOf(bucket.update("gone", "2", created)), "conflict");
    const again = await bucket.update("gone", "3", 0);
    assert.ok(again > created);
    assert.equal(textOf((await bucket.get("gone"))?.value), "3");
    await bucket.delete("never-was");
    assert.equal(await bucket.get("never-was"), undefined);
  });

  test("exactly one of many concurrent compare-and-sets succeeds", async () => {
    const bucket = await bus().bucket("lease");
    for (let revision = 0, round = 0; round < 5; round += 1) {
      const at = revision;
      const results = await Promise.allSettled(
        Array.from({ length: 16 }, (_, index) => bucket.update("race", String(index), at)),
      );
      const won = results.filter((result) => result.status === "fulfilled");
      assert.equal(won.length, 1);
      assert.deepEqual(
        [...new Set(results.filter((result) => result.status === "rejected").map((result) => faultCode(result.reason)))],
        ["conflict"],
      );
      revision = won[0]?.value ?? 0;
      assert.equal((await bucket.get("race"))?.revision, revision);
    }
  });

  test("watch delivers the current entries, then every change and deletion", async () => {
    const bucket = await bus().bucket("checkpoint");
    await bucket.put("shard-a", "1");
    await bucket.put("shard-b", "1");
    await bucket.put("shard-c", "1");
    await bucket.delete("shard-c");
    const seen: string[] = [];
    const watch = await bucket.watch((key, entry) => seen.push(`${key}=${textOf(entry?.value) ?? "deleted"}`));
    await watch.ready;
    assert.deepEqual(seen, ["shard-a=1", "shard-b=1"]);
    await bucket.put("shard-b", "2");
    await bucket.delete("shard-a");
    await bucket.delete("shard-a");
    const revision = await bucket.put("shard-c", "3");
    await until("the last change is delivered", () => seen.includes("shard-c=3"));
    assert.deepEqual(seen.slice(2), ["shard-b=2", "shard-a=deleted", "shard-c=3"]);
    assert.equal((await bucket.get("shard-c"))?.revision, revision);
    await watch.stop();
    await bucket.put("shard-b", "4");
    assert.equal(seen.length, 5);
  });

  test("reading the broker's clock leaves no entry behind", async () => {
    await bus().brokerTime();
    const bucket = await bus().bucket("lease");
    assert.equal((await bucket.keys()).includes("clock"), false);
  });
}
