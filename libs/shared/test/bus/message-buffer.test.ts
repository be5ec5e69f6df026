import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createMessageBuffer } from "../../src/bus/message-buffer.ts";

const unexpected = (cause: unknown): void => assert.fail(String(cause));

describe("a message buffer", () => {
  it("delivers at once, and keeps the order across pauses", () => {
    const seen: number[] = [];
    const buffer = createMessageBuffer<number>((message) => seen.push(message), unexpected);
    buffer.push(1);
    buffer.pause();
    for (const message of [2, 3]) buffer.push(message);
    assert.deepEqual([seen, buffer.isEmpty], [[1], false]);
    buffer.resume();
    buffer.push(4);
    assert.deepEqual([seen, buffer.isEmpty], [[1, 2, 3, 4], true]);
  });

  it("never re-enters its handler, which may pause, resume and push", () => {
    const seen: number[] = [];
    let depth = 0;
    const buffer = createMessageBuffer<number>((message) => {
      depth += 1;
      assert.equal(depth, 1);
      seen.push(message);
      if (message === 1) {
        buffer.pause();
        buffer.push(2);
        buffer.resume();
        buffer.push(3);
      }
      if (message === 3) buffer.pause();
      depth -= 1;
    }, unexpected);
    for (const message of [1, 4]) buffer.push(message);
    assert.deepEqual([seen, buffer.isPaused], [[1, 2, 3], true]);
    buffer.resume();
    assert.deepEqual(seen, [1, 2, 3, 4]);
  });

  it("reports what its handler throws, and delivers the rest afterwards", () => {
    const seen: number[] = [];
    const thrown: unknown[] = [];
    const buffer = createMessageBuffer<number>(
      (message) => {
        if (message === 2) throw new Error("two");
        seen.push(message);
      },
      (cause) => thrown.push((cause as Error).message),
    );
    buffer.pause();
    for (const message of [1, 2, 3]) buffer.push(message);
    buffer.resume();
    assert.deepEqual([seen, thrown], [[1], ["two"]]);
    buffer.push(4);
    assert.deepEqual(seen, [1, 3, 4]);
  });

  it("delivers nothing after it was closed, even by its handler", () => {
    const seen: number[] = [];
    const buffer = createMessageBuffer<number>((message) => {
      seen.push(message);
      buffer.close();
    }, unexpected);
    buffer.pause();
    for (const message of [1, 2]) buffer.push(message);
    buffer.resume();
    buffer.push(3);
    assert.deepEqual([seen, buffer.isEmpty], [[1], true]);
  });
});
