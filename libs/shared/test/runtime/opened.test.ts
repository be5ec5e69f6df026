import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { openAll } from "../../src/runtime/opened.ts";

describe("openAll", () => {
  const closed: string[] = [];
  const resource = (name: string) => ({ [Symbol.asyncDispose]: async () => void closed.push(name) });

  it("closes everything, newest first, when the service stops", async () => {
    closed.length = 0;
    const service = await openAll(async (opened) => {
      opened.add(resource("bus"));
      opened.add({ [Symbol.dispose]: () => void closed.push("tokens") });
    });
    assert.deepEqual(closed, []);
    await service[Symbol.asyncDispose]();
    assert.deepEqual(closed, ["tokens", "bus"]);
  });

  it("closes what was opened when a later step fails, and rethrows its error", async () => {
    closed.length = 0;
    const failing = openAll(async (opened) => {
      opened.add(resource("bus"));
      opened.add(resource("evaluator"));
      throw new Error("port in use");
    });
    await assert.rejects(failing, /port in use/);
    assert.deepEqual(closed, ["evaluator", "bus"]);
  });

  const broken = (name: string) => ({
    [Symbol.dispose]: () => {
      closed.push(name);
      throw new Error(`${name} is stuck`);
    },
  });

  it("closes the older resources even if a newer one fails to close, and reports every failure", async () => {
    closed.length = 0;
    const service = await openAll(async (opened) => {
      for (const part of [resource("bus"), broken("shim"), broken("ops")]) opened.add(part);
    });
    const failure = await Promise.resolve(service[Symbol.asyncDispose]()).catch((error: AggregateError) => error);
    assert.deepEqual(failure?.errors.map(String), ["Error: ops is stuck", "Error: shim is stuck"]);
    assert.deepEqual(closed, ["ops", "shim", "bus"]);
  });

  it("rethrows the error of the start even if closing fails too", async () => {
    closed.length = 0;
    const failing = openAll(async (opened) => {
      opened.add(resource("bus"));
      opened.add(broken("shim"));
      throw new Error("port in use");
    });
    await assert.rejects(failing, /port in use/);
    assert.deepEqual(closed, ["shim", "bus"]);
  });
});
