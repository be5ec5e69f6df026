import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { test } from "node:test";
import type { StoredMessage } from "@aviary/shared/bus/bus.ts";
import { runCommand } from "@aviary/shared/commands/program.ts";
import { policySchema } from "@aviary/shared/contract/policy.ts";
import { controlSubject, signalMessageId, signalSubject } from "@aviary/shared/contract/subjects.ts";
import { differences, otherWindow } from "../src/commands/actions/diff-policy.ts";
import { replayCommand } from "../src/commands/replay.ts";
import type { Input } from "../src/core/inputs.ts";
import { rejudge } from "../src/core/rejudge-verdicts.ts";
import { messageOf, readRecording, recordedLine } from "../src/recording/case-folder.ts";
import { expectedLine } from "../src/recording/read-case.ts";
import { createReplay } from "../src/recording/replay.ts";
import { CANARY, createSimulatedFleet, reduceFleet, TEST_POLICY } from "./core/simulated-fleet.ts";

function storedMessage(input: Input): StoredMessage {
  assert.ok(input.kind === "signal" || input.kind === "control");
  const payload = input.kind === "signal" ? input.signal : input.control;
  const subject =
    input.kind === "signal"
      ? signalSubject(input.signal, input.signal.kind)
      : controlSubject("payments", CANARY, input.control.verb);
  const id =
    input.kind === "signal" ? signalMessageId(input.signal, input.signal.collector_boot, input.signal.seq) : input.control.id;
  return {
    subject,
    sequence: input.sequence,
    storedAtMs: input.storedAtMs,
    id,
    data: Buffer.from(JSON.stringify(payload)),
    header: () => undefined,
  };
}

function failingFleet(mode: "literal" | "two-key") {
  const fleet = createSimulatedFleet({ policy: { mode } });
  fleet.advance(60);
  fleet.publishControl({ verb: "announce", caller: "rollouts", revision: "v2" });
  fleet.advance(100);
  for (const gateway of fleet.slice("canary")) gateway.errors = 2;
  fleet.advance(150);
  return fleet;
}

test("a message survives encoding as a line and back, even if its payload is not text", () => {
  const messages: StoredMessage[] = [
    {
      subject: "signals.a.f.g.http",
      sequence: 7,
      storedAtMs: 1_795_000_000_123,
      id: "x",
      data: Buffer.from('{"a":"ü\\n"}'),
      header: () => undefined,
    },
    {
      subject: "control.f.n.c.abort",
      sequence: 8,
      storedAtMs: 1_795_000_000_124,
      id: undefined,
      data: Buffer.from([0xff, 0x00, 0xfe]),
      header: () => undefined,
    },
  ];
  for (const message of messages) {
    const back = messageOf(recordedLine(message), "here");
    assert.deepEqual({ ...back, data: Buffer.from(back.data), header: 0 }, { ...message, header: 0 });
  }
  for (const bad of ["{", "{}", '{"subject":"s","sequence":0,"stored_at":"yesterday","data":""}'])
    assert.throws(() => messageOf(bad, "input.jsonl:3"), /input\.jsonl:3/);
});

test("a replay yields the same bytes when repeated, with duplicates, after restarts and with clock ticks; `replay --check` reports this", async () => {
  const folder = await mkdtemp(join(tmpdir(), "aviary-replay-"));
  try {
    const fleet = failingFleet("literal");
    const path = join(folder, "input.jsonl");
    await writeFile(path, fleet.log.map((input) => `${recordedLine(storedMessage(input))}\n`).join(""));
    const replayed = createReplay(fleet.config);
    for await (const messages of readRecording(path)) for (const message of messages) replayed.apply(message);
    replayed.advanceClock(fleet.now() + 100);
    assert.equal(JSON.stringify(replayed.verdicts), JSON.stringify(reduceFleet(fleet).verdicts));

    await writeFile(join(folder, "policy.yaml"), JSON.stringify(TEST_POLICY));
    const gateways = fleet.gateways.map(({ name, az, slice }) => ({ name, az, slice, tier: "2TB" }));
    const file = {
      fleets: { payments: { gateways } },
      canaries: {
        "prod/payments-gateway": { fleet: "payments", policy: "policy.yaml", lanes: ["build-az-a"], callers: { flagger: {} } },
      },
      lanes: { "build-az-a": { az: "az-a", slice: "canary", stableMax: 2, pollingInterval: "10s" } },
    };
    await writeFile(join(folder, "aviary.yaml"), JSON.stringify(file));
    let stdout = "";
    let stderr = "";
    const writable = (append: (text: string) => void) =>
      new Writable({
        write: (chunk, _encoding, done) => {
          append(String(chunk));
          done();
        },
      });
    const io = {
      stdout: writable((text) => (stdout += text)),
      stderr: writable((text) => (stderr += text)),
      env: {},
      signal: new AbortController().signal,
    };
    assert.equal(await runCommand(replayCommand, [folder, "--check"], io), 0, stderr);
    assert.match(stdout, /FAIL {2}prod\/payments-gateway/);
    assert.match(stdout, /\d+ verdicts: \d+ pass, \d+ hold, \d+ fail/);
    assert.equal(stderr.match(/the same \d+ verdicts/g)?.length, 4, stderr);
    const byMessages = createReplay(fleet.config);
    for (const input of fleet.log) byMessages.apply(storedMessage(input));
    const expected = byMessages.verdicts.map(expectedLine);
    await writeFile(join(folder, "expected.jsonl"), expected.map((line) => `${line}\n`).join(""));
    assert.equal(await runCommand(replayCommand, [folder, "--check"], io), 0, stderr);
    assert.match(stderr, /compared with expected\.jsonl: the same \d+ verdicts/);
    await writeFile(join(folder, "expected.jsonl"), `${expected[0]}\n`);
    assert.equal(await runCommand(replayCommand, [folder, "--check"], io), 1, stderr);
    assert.match(stderr, /compared with expected\.jsonl: DIFFERENT at line 2: /);
    assert.equal(await runCommand(replayCommand, [], io), 2);
    assert.equal(await runCommand(replayCommand, [join(folder, "absent.jsonl")], io), 1);
    await writeFile(path, `${(await readFile(path, "utf8")).slice(0, 5_000)}\n{"subject":`);
    assert.equal(await runCommand(replayCommand, [folder], io), 1);
    assert.match(stderr, /input\.jsonl:\d+/);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test("records judged again under their own policy yield the same verdicts; under another policy, the verdicts that it would have produced", () => {
  const fleet = failingFleet("literal");
  const { verdicts } = reduceFleet(fleet);
  const [same] = rejudge(verdicts, policySchema.parse({ ...TEST_POLICY, mode: "literal" }));
  assert.ok(same);
  assert.equal(same.failedAt, same.wouldFailAt);
  assert.ok(same.failedAt !== null);
  assert.deepEqual(
    same.verdicts.map(({ verdict }) => verdict),
    same.verdicts.map(({ record }) => record.body.verdict),
  );
  const [lenient] = rejudge(verdicts, policySchema.parse({ ...TEST_POLICY, mode: "literal", thresholds: { max5xxRate: 0.2 } }));
  assert.equal(lenient?.wouldFailAt, null);
  assert.ok(lenient?.verdicts.some(({ record, verdict }) => record.body.verdict === "fail" && verdict === "pass"));
});

test("records are judged again by the version of the rule that they name, and by version 2 if they name none", () => {
  const fleet = createSimulatedFleet({ policy: { mode: "two-key" } });
  fleet.advance(60);
  fleet.publishControl({ verb: "announce", caller: "rollouts", revision: "v2" });
  fleet.advance(200);
  const { verdicts } = reduceFleet(fleet);
  assert.ok(verdicts.some(({ body }) => body.judge.rule === 3));
  // Every request of the canary is answered with 4xx, which only version 3 judges.
  const stormy = verdicts.map((record) => {
    const { closed } = record.evidence;
    const cells = (closed?.cells ?? []).map((cell) => ({
      ...cell,
      slots: cell.slots.map((slot) => ({ ...slot, errors_4xx: cell.slice === "canary" ? slot.requests : 0 })),
    }));
    return { ...record, evidence: { ...record.evidence, closed: closed === null ? null : { ...closed, cells } } };
  });
  const codes = (records: typeof stormy) =>
    new Set(
      rejudge(records, policySchema.parse(TEST_POLICY)).flatMap((run) =>
        run.verdicts.flatMap(({ reasons }) => reasons.map(({ code }) => code)),
      ),
    );
  const unnamed = stormy.map((record) => {
    const { rule: _, ...judge } = record.body.judge;
    return { ...record, body: { ...record.body, judge } };
  });
  assert.ok(codes(stormy).has("over_4xx"));
  assert.ok(!codes(unnamed).has("over_4xx"));
});

test("a policy comparison lists each verdict that changes and when each rollback would have started", () => {
  const { verdicts } = reduceFleet(failingFleet("literal"));
  const failedAt = verdicts.find(({ body }) => body.verdict === "fail")!.body.at;
  const under = (policy: object, json = false) =>
    differences("prod/payments-gateway", rejudge(verdicts, policySchema.parse({ ...TEST_POLICY, ...policy })), json);
  assert.match(under({ mode: "literal" }), new RegExp(`, 0 would differ; rolled back at ${failedAt} either way\n$`));

  const lenient = under({ mode: "literal", thresholds: { max5xxRate: 0.2 } });
  assert.match(lenient, new RegExp(`would differ; rolled back at ${failedAt}; would not have\n`));
  assert.match(lenient, new RegExp(`\n  ${failedAt}  fail → pass  [0-9a-f]{16}\n`));

  // One window is sufficient at eight times a low ceiling; the threshold rule needed two.
  const sooner = JSON.parse(under({ mode: "two-key", thresholds: { max5xxRate: 0.0005 } }, true)) as Record<string, unknown>;
  assert.equal(sooner.failed_at, failedAt);
  assert.ok(Date.parse(sooner.would_fail_at as string) < Date.parse(failedAt), JSON.stringify(sooner));
  const [first] = sooner.changed as { at: string; verdict: string; would_be: string; reasons: { code: string }[] }[];
  assert.deepEqual(
    [first?.at, first?.verdict, first?.would_be, first?.reasons[0]?.code],
    [sooner.would_fail_at, "hold", "fail", "over_5xx"],
  );
});

test("no record is judged again after a failed run was restored, because the canary runs stable's release", () => {
  const fleet = failingFleet("literal");
  for (const gateway of fleet.slice("canary")) Object.assign(gateway, { version: "2026.9.6", errors: 0 });
  fleet.advance(10);
  fleet.publishControl({ verb: "end", caller: "rollouts", result: "failed", revision: "v2" });
  fleet.advance(120);
  const { verdicts } = reduceFleet(fleet);
  assert.equal(verdicts.at(-1)!.body.run?.canary_active, false);
  const [lenient] = rejudge(verdicts, policySchema.parse({ ...TEST_POLICY, mode: "literal", thresholds: { max5xxRate: 0.2 } }));
  assert.deepEqual(
    lenient!.verdicts.filter(({ record }) => record.body.verdict === "fail").map(({ record }) => record.body.at),
    [lenient!.failedAt],
    "only the verdict that failed the run, not its repetitions",
  );
  assert.ok(verdicts.filter(({ body }) => body.verdict === "fail").length > 3);
});

test("a run that ended or was cleared has no differences under its own policy", () => {
  const policy = policySchema.parse({ ...TEST_POLICY, mode: "literal" });
  const failing = (then: (fleet: ReturnType<typeof failingFleet>) => void) => {
    const fleet = failingFleet("literal");
    then(fleet);
    fleet.advance(120);
    return fleet;
  };
  const healthy = (then: (fleet: ReturnType<typeof failingFleet>) => void, revision: string | undefined = "v2") => {
    const fleet = createSimulatedFleet({ policy: { mode: "literal" } });
    fleet.advance(60);
    if (revision !== undefined) fleet.publishControl({ verb: "announce", caller: "rollouts", revision });
    fleet.advance(150);
    then(fleet);
    fleet.advance(120);
    return fleet;
  };
  const endings = {
    cleared: failing((fleet) => fleet.publishControl({ verb: "clear", caller: "operator", reason: "x" })),
    "cleared and started again": failing((fleet) => {
      fleet.publishControl({ verb: "clear", caller: "operator", reason: "x" });
      fleet.publishControl({ verb: "start", caller: "operator", revision: "v2" });
    }),
    "replaced after a failure": failing((fleet) =>
      fleet.publishControl({ verb: "announce", caller: "rollouts", revision: "v3" }),
    ),
    aborted: healthy((fleet) => fleet.publishControl({ verb: "abort", caller: "operator", reason: "x" })),
    succeeded: healthy((fleet) => fleet.publishControl({ verb: "end", caller: "rollouts", result: "succeeded", revision: "v2" })),
    replaced: healthy((fleet) => fleet.publishControl({ verb: "announce", caller: "rollouts", revision: "v3" })),
    paused: healthy((fleet) => fleet.publishControl({ verb: "pause", caller: "operator", reason: "x" })),
  };
  for (const [ending, fleet] of Object.entries(endings)) {
    const runs = rejudge(reduceFleet(fleet).verdicts, policy);
    assert.ok(runs.length > 0, ending);
    const text = differences("prod/payments-gateway", runs, false);
    assert.equal(
      text.match(/, 0 would differ; (no rollback|rolled back at \S+) either way$/gm)?.length,
      runs.length,
      `${ending}:\n${text}`,
    );
  }
});

test("recorded windows are never judged under a policy with another window", () => {
  const { verdicts } = reduceFleet(failingFleet("literal"));
  const windowMs = policySchema.parse(TEST_POLICY).windowMs;
  assert.equal(otherWindow(verdicts, policySchema.parse(TEST_POLICY)), undefined);
  assert.equal(otherWindow(verdicts, policySchema.parse({ ...TEST_POLICY, window: "2m" })), windowMs);
});
