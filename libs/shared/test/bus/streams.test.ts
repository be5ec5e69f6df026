import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { parseBrokerTime, parseDelivery } from "../../src/bus/nats-message.ts";
import { type ActualTopology, diffStreams, STREAM_NAMES, type Topology, topology } from "../../src/bus/streams.ts";
import { matches, matchesAny } from "../../src/bus/subject-match.ts";

const asIs = (wanted: Topology): ActualTopology => ({
  streams: wanted.streams,
  buckets: wanted.buckets.map((bucket) => ({ ...bucket, history: 1 })),
  durables: wanted.durables,
});
const textsOf = (actual: ActualTopology, wanted: Topology): string[] =>
  diffStreams(actual, wanted).map((difference) => difference.text);

describe("diffStreams", () => {
  const wanted = topology({ replicas: 3, lanes: ["build-az-a"] });

  test("reports no difference for the expected state, in any order, with other objects present", () => {
    const actual = asIs(wanted);
    const shuffled: ActualTopology = {
      ...actual,
      streams: [...actual.streams].reverse().map((stream) => ({ ...stream, subjects: [...stream.subjects].reverse() })),
      durables: [...actual.durables, { stream: "DEMAND", name: "somebody", filter: "demand.x", ackWaitMs: 1 }],
    };
    assert.deepEqual(diffStreams(shuffled, wanted), []);
  });

  test("lists every missing object", () => {
    const differences = diffStreams({ streams: [], buckets: [], durables: [] }, wanted);
    assert.equal(differences.length, STREAM_NAMES.length + 4 + 4);
    assert.ok(differences.every((difference) => difference.field === "existence" && difference.remedy === "create"));
    assert.deepEqual(
      [differences[0]?.text, differences.at(-1)?.text],
      ["stream INPUTS does not exist", "durable DEMAND/build-az-a does not exist"],
    );
  });

  test("describes each difference, and whether it can be fixed in place", () => {
    const actual = asIs(wanted);
    const changed: ActualTopology = {
      streams: actual.streams.map((stream) =>
        stream.name === "INPUTS"
          ? {
              ...stream,
              subjects: ["signals.>"],
              maxAgeMs: 0,
              maxBytes: -1,
              duplicateWindowMs: 120_000,
              storage: "memory",
              replicas: 1,
              discard: "new",
            }
          : stream,
      ),
      buckets: actual.buckets.map((bucket) => (bucket.name === "lease" ? { ...bucket, history: 5 } : bucket)),
      durables: actual.durables.map((durable) =>
        durable.name === "build-az-a" ? { ...durable, filter: "demand.>", maxDeliver: 3 } : durable,
      ),
    };
    assert.deepEqual(textsOf(changed, wanted), [
      "stream INPUTS: subjects is signals.>, must be control.>, signals.>",
      "stream INPUTS: max age is unlimited, must be 3d",
      "stream INPUTS: byte limit is unlimited, must be 8GiB",
      "stream INPUTS: discard policy is new, must be old",
      "stream INPUTS: duplicate window is 2m, must be 10m",
      "stream INPUTS: storage is memory, must be file; this cannot be changed in place: delete it by hand (its content is lost), then apply",
      "stream INPUTS: replicas is 1, must be 3",
      "bucket lease: history is 5, must be 1",
      "durable DEMAND/build-az-a: filter is demand.>, must be demand.build-az-a",
      "durable DEMAND/build-az-a: delivery limit is 3, must be unlimited",
    ]);
  });

  test("no duplicate window exceeds its stream's retention, and every stream is bounded", () => {
    for (const stream of wanted.streams) {
      assert.ok(stream.maxBytes > 0, stream.name);
      assert.ok(stream.maxAgeMs === 0 || stream.duplicateWindowMs <= stream.maxAgeMs, stream.name);
    }
  });
});

describe("subject filters", () => {
  const token = fc.stringMatching(/^[a-z0-9-]{1,4}$/);
  const tokens = fc.array(token, { minLength: 1, maxLength: 6 });

  test("select the same subjects as in NATS", () => {
    const cases: [string, string, boolean][] = [
      ["a.b", "a.b", true],
      ["a.b", "a.b.c", false],
      ["a.*", "a.b", true],
      ["a.*", "a", false],
      ["a.*", "a.b.c", false],
      ["a.>", "a.b.c", true],
      ["a.>", "a", false],
      [">", "a", true],
      ["*.b.>", "a.b.c", true],
      ["*.b.>", "a.c.c", false],
    ];
    for (const [filter, subject, wanted] of cases) assert.equal(matches(filter, subject), wanted, `${filter} ${subject}`);
    assert.equal(matchesAny([], "a"), true);
    assert.equal(matchesAny(["b", "c"], "a"), false);
  });

  test("a filter made from a subject by wildcards selects it", () => {
    fc.assert(
      fc.property(tokens, fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }), fc.nat(5), (subject, stars, cut) => {
        const starred = subject.map((each, index) => (stars[index] ? "*" : each));
        assert.ok(matches(starred.join("."), subject.join(".")));
        const head = starred.slice(0, Math.min(cut, subject.length - 1));
        assert.ok(matches([...head, ">"].join("."), subject.join(".")));
        assert.equal(matches([...starred, "*"].join("."), subject.join(".")), false);
      }),
    );
  });
});

describe("the reply subject of a delivery", () => {
  test("is parsed in both forms, and store times are rounded down", () => {
    const wanted = {
      deliveryCount: 3,
      streamSequence: 9_007_199_254_740,
      consumerSequence: 12,
      storedAtMs: 1_795_261_688_654,
      pending: 77,
    };
    assert.deepEqual(parseDelivery("$JS.ACK.INPUTS.follow_1.3.9007199254740.12.1795261688654999999.77"), wanted);
    assert.deepEqual(parseDelivery("$JS.ACK._.hash.INPUTS.follow_1.3.9007199254740.12.1795261688654999999.77"), wanted);
    assert.deepEqual(parseDelivery("$JS.ACK.hub.hash.INPUTS.follow_1.3.9007199254740.12.1795261688654999999.77.random"), wanted);
    assert.throws(() => parseDelivery("_INBOX.a.b"), RangeError);
    assert.throws(() => parseDelivery("$JS.ACK.too.short"), RangeError);
  });

  test("times of a direct read are rounded down to the same millisecond", () => {
    assert.equal(parseBrokerTime("2026-11-21T11:48:08.654999999Z"), Date.UTC(2026, 10, 21, 11, 48, 8, 654));
    assert.equal(parseBrokerTime("2026-11-21T11:48:08.6Z"), Date.UTC(2026, 10, 21, 11, 48, 8, 600));
    assert.equal(parseBrokerTime("2026-11-21T11:48:08Z"), Date.UTC(2026, 10, 21, 11, 48, 8, 0));
  });
});
