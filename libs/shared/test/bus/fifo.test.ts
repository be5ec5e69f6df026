import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { createFifo } from "../../src/bus/fifo.ts";

describe("a queue", () => {
  it("returns the same values as an array, for any sequence of operations", () => {
    const operation = fc.oneof(
      fc.record({ kind: fc.constant("push" as const), count: fc.integer({ min: 1, max: 5_000 }) }),
      fc.record({ kind: fc.constant("shift" as const), count: fc.integer({ min: 1, max: 6_000 }) }),
      fc.record({ kind: fc.constant("clear" as const), count: fc.constant(1) }),
    );
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 12 }), (operations) => {
        const queue = createFifo<number>();
        let model: number[] = [];
        let next = 0;
        for (const { kind, count } of operations) {
          if (kind === "clear") {
            assert.deepEqual(queue.clear(), model);
            model = [];
          }
          for (let step = 0; kind === "push" && step < count; step += 1) {
            queue.push(next);
            model.push(next);
            next += 1;
          }
          if (kind === "shift") {
            const taken = model.splice(0, count);
            for (const entry of taken) assert.equal(queue.shift(), entry);
            if (taken.length < count) assert.equal(queue.shift(), undefined);
          }
          assert.deepEqual([queue.size, queue.first], [model.length, model[0]]);
        }
      }),
      { numRuns: 60 },
    );
  });
});
