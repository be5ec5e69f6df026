/**
 * The contract of every bus, as one suite run by each implementation, so that services cannot distinguish them.
 * Every test uses its own subjects, so that one bus serves them all.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Bus, Follower, FollowOptions, StoredMessage } from "../bus/bus.ts";
import { faultCode } from "../runtime/faults.ts";
import { bucketContract } from "./bus-contract-buckets.ts";
import { durableContract } from "./bus-contract-durables.ts";
import { until } from "./until.ts";

export interface BusUnderTest {
  readonly bus: Bus;
  /** Opens another bus on the same broker, or a new bus if there is no broker, for tests that close it. */
  another(): Promise<Bus>;
  close(): Promise<void>;
}

/** Registers the suite. `make` is called once; if it returns undefined, the tests are skipped with that reason. */
export function busContract(name: string, make: () => Promise<BusUnderTest>, skip: string | false = false): void {
  describe(`${name} fulfills the bus contract`, { skip }, () => {
    let held: BusUnderTest | undefined;
    before(async () => {
      held = await make();
    });
    after(async () => {
      await held?.close();
    });
    const bus = (): Bus => (held as BusUnderTest).bus;
    publishContract(bus);
    followContract(bus);
    bucketContract(bus);
    durableContract(bus);

    test("a closed bus reports it and ends its followers", async () => {
      const closing = await (held as BusUnderTest).another();
      const seen: string[] = [];
      closing.onStatus((status) => seen.push(status));
      const ended = Promise.withResolvers<Error | undefined>();
      await closing.follow({ stream: "INPUTS", from: "new", onMessage: () => undefined, onEnd: ended.resolve });
      assert.equal(closing.status, "connected");
      await closing[Symbol.asyncDispose]();
      assert.equal(await ended.promise, undefined);
      await until("the bus is closed", () => closing.status === "closed");
      assert.deepEqual(seen, ["closed"]);
      await assert.rejects(closing.publish({ subject: signal("closed"), data: "" }), hasCode("bus_closed"));
      await closing[Symbol.asyncDispose]();
    });
  });
}

/** A predicate for `assert.rejects`: the fault has this code. */
export function hasCode(code: string): (error: unknown) => boolean {
  return (error) => {
    assert.equal(faultCode(error), code, String(error));
    return true;
  };
}

const signal = (gateway: string, kind = "http"): string => `signals.az-a.contract.${gateway}.${kind}`;
const text = (message: StoredMessage): string => Buffer.from(message.data).toString();

async function collect(
  bus: Bus,
  options: Omit<FollowOptions, "onMessage" | "stream">,
): Promise<{ follower: Follower; messages: StoredMessage[] }> {
  const messages: StoredMessage[] = [];
  const follower = await bus.follow({ stream: "INPUTS", ...options, onMessage: (message) => messages.push(message) });
  return { follower, messages };
}

function publishContract(bus: () => Bus): void {
  test("publish stores a message with its subject, id, headers and bytes", async () => {
    const data = Uint8Array.of(0, 255, 10, 13, 0);
    const subject = signal("roundtrip");
    const stored = await bus().publish({ subject, data, id: "roundtrip-1", headers: { traceparent: "00-abc-01" } });
    assert.equal(stored.stream, "INPUTS");
    assert.equal(stored.duplicate, false);
    const last = await bus().last("INPUTS", subject);
    assert.ok(last);
    assert.equal(last.subject, subject);
    assert.equal(last.sequence, stored.sequence);
    assert.equal(last.id, "roundtrip-1");
    assert.equal(last.header("traceparent"), "00-abc-01");
    assert.equal(last.header("absent"), undefined);
    assert.deepEqual([...last.data], [...data]);
    assert.ok(Number.isInteger(last.storedAtMs));

    const { follower, messages } = await collect(bus(), { subjects: [subject], from: "all" });
    await follower.caughtUp;
    await follower.stop();
    assert.equal(messages.length, 1);
    const followed = messages[0] as StoredMessage;
    assert.deepEqual(
      [followed.subject, followed.sequence, followed.storedAtMs, followed.id, followed.header("traceparent"), [...followed.data]],
      [last.subject, last.sequence, last.storedAtMs, last.id, last.header("traceparent"), [...last.data]],
    );
  });

  test("a message without id, headers and bytes is stored", async () => {
    await bus().publish({ subject: signal("bare"), data: "" });
    const last = await bus().last("INPUTS", signal("bare"));
    assert.deepEqual([last?.id, last?.header("Nats-Msg-Id"), last?.data.length], [undefined, undefined, 0]);
  });

  test("an id is stored once, on any subject", async () => {
    const first = await bus().publish({ subject: signal("dedupe-a"), data: "1", id: "dedupe" });
    const again = await bus().publish({ subject: signal("dedupe-a"), data: "2", id: "dedupe" });
    const elsewhere = await bus().publish({ subject: signal("dedupe-b"), data: "3", id: "dedupe" });
    assert.deepEqual(again, { ...first, duplicate: true });
    assert.deepEqual(elsewhere, { ...first, duplicate: true });
    assert.equal(await bus().last("INPUTS", signal("dedupe-b")), undefined);
  });

  test("concurrent publishes get increasing sequences, and store times never decrease", async () => {
    const subject = signal("many");
    const stored = await Promise.all(
      Array.from({ length: 3000 }, (_, index) => bus().publish({ subject, data: String(index), id: `many-${index}` })),
    );
    assert.equal(new Set(stored.map((each) => each.sequence)).size, 3000);
    const { follower, messages } = await collect(bus(), { subjects: [subject], from: "all" });
    await follower.caughtUp;
    await follower.stop();
    assert.deepEqual(
      messages.map(text),
      Array.from({ length: 3000 }, (_, index) => String(index)),
    );
    for (let index = 1; index < messages.length; index += 1) {
      const [before, after] = [messages[index - 1] as StoredMessage, messages[index] as StoredMessage];
      assert.ok(after.sequence > before.sequence && after.storedAtMs >= before.storedAtMs);
    }
  });

  test("an oversized message is rejected permanently", async () => {
    await assert.rejects(
      bus().publish({ subject: signal("large"), data: new Uint8Array(1024 * 1024 + 1) }),
      hasCode("publish_invalid"),
    );
  });

  test("the state of a stream counts its messages", async () => {
    const subject = "dead.contract";
    const before = await bus().streamState("DEAD");
    await bus().publish({ subject, data: "1" });
    await bus().publish({ subject, data: "2" });
    const after = await bus().streamState("DEAD");
    assert.equal(after.messages, before.messages + 2);
    assert.equal(after.lastSequence, before.lastSequence + 2);
    assert.equal(after.firstSequence, Math.max(before.firstSequence, 1));
  });

  test("the broker's clock is between the store times before and after", async () => {
    const subject = signal("clock");
    await bus().publish({ subject, data: "" });
    const before = await bus().last("INPUTS", subject);
    const now = await bus().brokerTime();
    await bus().publish({ subject, data: "" });
    const after = await bus().last("INPUTS", subject);
    assert.ok(before && after);
    assert.ok(before.storedAtMs <= now && now <= after.storedAtMs, `${before.storedAtMs} <= ${now} <= ${after.storedAtMs}`);
  });
}

function followContract(bus: () => Bus): void {
  test("follow starts at the given position", async () => {
    const subject = signal("begin");
    const sequences: number[] = [];
    for (const data of ["a", "b", "c"]) sequences.push((await bus().publish({ subject, data })).sequence);
    const second = await bus().last("INPUTS", subject);
    const begins: [FollowOptions["from"], string][] = [
      ["all", "abcd"],
      [{ sequence: sequences[1] as number }, "bcd"],
      [{ sequence: 0 }, "abcd"],
      [{ sequence: (sequences[2] as number) + 1 }, "d"],
      [{ time: 0 }, "abcd"],
      // A time in the future is the end of the log.
      [{ time: (second?.storedAtMs ?? 0) + 60_000 }, "d"],
      ["last-per-subject", "cd"],
      ["new", "d"],
    ];
    const followers = await Promise.all(begins.map(([from]) => collect(bus(), { subjects: [subject], from })));
    await Promise.all(followers.map(({ follower }) => follower.caughtUp));
    assert.deepEqual(
      followers.map(({ messages }) => messages.map(text).join("")),
      begins.map(([, wanted]) => wanted.replace("d", "")),
    );
    await bus().publish({ subject, data: "d" });
    await until("all followers received the last message", () =>
      followers.every(({ messages }, index) => messages.length >= (begins[index]?.[1].length ?? 0)),
    );
    assert.deepEqual(
      followers.map(({ messages }) => messages.map(text).join("")),
      begins.map(([, wanted]) => wanted),
    );
    for (const { follower } of followers) await follower.stop();
  });

  test("a start time includes the messages of that millisecond", async () => {
    const subject = signal("time");
    await bus().publish({ subject, data: "a" });
    const first = await bus().last("INPUTS", subject);
    const { follower, messages } = await collect(bus(), { subjects: [subject], from: { time: first?.storedAtMs ?? 0 } });
    await follower.caughtUp;
    await follower.stop();
    assert.deepEqual(messages.map(text), ["a"]);
  });

  test("several filters select their union, and none select everything", async () => {
    const kinds = ["http", "disk", "log"];
    for (const round of [1, 2])
      for (const kind of kinds) await bus().publish({ subject: signal("filters", kind), data: `${kind}${round}` });
    const two = [signal("filters", "http"), signal("filters", "log")];
    const everything = await collect(bus(), { subjects: two, from: "all" });
    const lasts = await collect(bus(), { subjects: two, from: "last-per-subject" });
    const whole = await collect(bus(), { from: "last-per-subject" });
    await Promise.all([everything.follower.caughtUp, lasts.follower.caughtUp, whole.follower.caughtUp]);
    assert.deepEqual(everything.messages.map(text), ["http1", "log1", "http2", "log2"]);
    assert.deepEqual(lasts.messages.map(text), ["http2", "log2"]);
    const mine = whole.messages.filter((message) => message.subject.includes(".filters."));
    assert.deepEqual(mine.map(text), ["http2", "disk2", "log2"]);
    for (const { follower } of [everything, lasts, whole]) await follower.stop();
  });

  test("caughtUp resolves immediately if nothing matches", async () => {
    for (const from of ["all", "new", "last-per-subject"] as const) {
      const { follower, messages } = await collect(bus(), { subjects: [signal("nothing")], from });
      await follower.caughtUp;
      await follower.stop();
      assert.equal(messages.length, 0);
    }
  });

  test("a follower receives every message published meanwhile exactly once", async () => {
    const subject = signal("meanwhile");
    const publishing = (async () => {
      for (let round = 0; round < 20; round += 1) {
        await Promise.all(
          Array.from({ length: 100 }, (_, index) => bus().publish({ subject, data: String(round * 100 + index) })),
        );
      }
    })();
    const followers = [
      await collect(bus(), { subjects: [subject], from: "all" }),
      await collect(bus(), { subjects: [signal("meanwhile", "*")], from: "all" }),
    ];
    await publishing;
    await until("all messages arrived", () => followers.every(({ messages }) => messages.length >= 2000));
    for (const { follower, messages } of followers) {
      await follower.caughtUp;
      await follower.stop();
      assert.deepEqual(
        messages.map(text),
        Array.from({ length: 2000 }, (_, index) => String(index)),
      );
    }
  });

  test("a paused follower receives nothing, continues where it was when resumed, and delays no other", async () => {
    const subject = signal("pause");
    const slow: string[] = [];
    const handle: { follower?: Follower } = {};
    handle.follower = await bus().follow({
      stream: "INPUTS",
      subjects: [subject],
      from: "all",
      onMessage: (message) => {
        slow.push(text(message));
        if (slow.length % 500 === 0) handle.follower?.pause();
      },
    });
    const quick = await collect(bus(), { subjects: [subject], from: "all" });
    const wanted = Array.from({ length: 2500 }, (_, index) => String(index));
    await Promise.all(wanted.map((data) => bus().publish({ subject, data })));
    await until("the fast follower has all messages", () => quick.messages.length === 2500);
    for (let count = 500; count <= 2500; count += 500) {
      await until(`the slow follower has ${count}`, () => slow.length >= count);
      assert.equal(slow.length, count);
      handle.follower.resume();
    }
    assert.deepEqual(slow, wanted);
    assert.deepEqual(quick.messages.map(text), wanted);
    await handle.follower.stop();
    await quick.follower.stop();
  });

  test("caughtUp waits while the follower is paused", async () => {
    const subject = signal("pause-caught");
    for (const data of ["a", "b", "c"]) await bus().publish({ subject, data });
    const { follower, messages } = await collect(bus(), { subjects: [subject], from: "all" });
    follower.pause();
    let caughtUp = false;
    const waiting = follower.caughtUp.then(() => {
      caughtUp = true;
    });
    // A round trip on the same bus: messages that the broker had in flight have arrived after it.
    await bus().streamState("INPUTS");
    assert.equal(caughtUp, messages.length === 3);
    follower.resume();
    await waiting;
    assert.deepEqual(messages.map(text), ["a", "b", "c"]);
    await follower.stop();
  });

  test("a stopped follower delivers nothing more, and onEnd is called once", async () => {
    const subject = signal("stop");
    const messages: StoredMessage[] = [];
    const ends: (Error | undefined)[] = [];
    const follower = await bus().follow({
      stream: "INPUTS",
      subjects: [subject],
      from: "all",
      onMessage: (message) => messages.push(message),
      onEnd: (error) => ends.push(error),
    });
    await bus().publish({ subject, data: "a" });
    await until("the message is stored", () => messages.length === 1);
    await follower.stop();
    await follower.stop();
    await bus().publish({ subject, data: "b" });
    const witness = await collect(bus(), { subjects: [subject], from: "all" });
    await witness.follower.caughtUp;
    await witness.follower.stop();
    assert.equal(witness.messages.length, 2);
    assert.equal(messages.length, 1);
    assert.deepEqual(ends, [undefined]);
  });

  test("a handler that throws ends its own follower and no other", async () => {
    const subject = signal("throws");
    const ended = Promise.withResolvers<Error | undefined>();
    await bus().follow({
      stream: "INPUTS",
      subjects: [subject],
      from: "all",
      onMessage: () => {
        throw new Error("on purpose");
      },
      onEnd: ended.resolve,
    });
    await bus().publish({ subject, data: "a" });
    assert.equal(faultCode(await ended.promise), "handler_threw");
    const { follower, messages } = await collect(bus(), { subjects: [subject], from: "all" });
    await follower.caughtUp;
    await follower.stop();
    assert.equal(messages.length, 1);
  });

  test("a work queue cannot be followed", async () => {
    await assert.rejects(bus().follow({ stream: "DEMAND", from: "all", onMessage: () => undefined }), hasCode("broker_refused"));
  });
}
