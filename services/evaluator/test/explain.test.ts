import assert from "node:assert/strict";
import { test } from "node:test";
import { explanation } from "../src/commands/actions/explain.ts";
import { createSimulatedFleet, reduceFleet } from "./core/simulated-fleet.ts";

/** The explanation of the last verdict of a fleet that `disturb` changes during its run. */
function explained(disturb: (fleet: ReturnType<typeof createSimulatedFleet>) => void, seconds: number) {
  const fleet = createSimulatedFleet({ policy: { mode: "two-key" }, azs: ["az-a"] });
  fleet.advance(300);
  fleet.publishControl({ verb: "announce", caller: "rollouts", revision: "v2" });
  fleet.advance(200);
  disturb(fleet);
  fleet.advance(seconds);
  const { verdicts } = reduceFleet(fleet);
  const record = verdicts.at(-1)!;
  return { record, verdicts, config: fleet.config, text: explanation(record, verdicts, fleet.config).join("\n") };
}

test("a hold is explained key by key, with the figures of the verdict", () => {
  const { record, text } = explained((fleet) => {
    for (const gateway of fleet.slice("canary")) gateway.errors = 2;
  }, 70);
  assert.equal(record.body.verdict, "hold");
  const { requests, errors_5xx } = record.body.canary;
  assert.ok(text.includes(`the last window: ${errors_5xx} of ${requests} requests failed`), text);
  assert.match(text, /rate key +satisfied: reaches 0\.5%/);
  assert.match(text, /significance key not satisfied: p≈1\/[\d,]+; a failure requires p≤1\/4,000/);
  assert.match(text, /persistence key +not satisfied: a single window fails only from 4%/);
  assert.match(text, /estimated from \d+ windows/);
  assert.match(text, /not all keys are satisfied/);
});

test("a failure is explained by the window range that satisfies all four keys", () => {
  const { record, text } = explained((fleet) => {
    for (const gateway of fleet.slice("canary")) gateway.errors = 10;
  }, 65);
  assert.equal(record.body.verdict, "fail", text);
  assert.match(text, /all four keys are satisfied: this range fails the run/);
});

test("slow requests are explained with the threshold, its inputs and the figures of both slices", () => {
  const { text } = explained((fleet) => {
    for (const gateway of fleet.slice("canary")) gateway.latencyMs = 60;
  }, 70);
  assert.match(text, /canary: 600 requests reported, 600 merged, none excluded/);
  assert.match(text, /canary: 600 requests, 0 failed \(0%\), p99 60\.\d ms; stable: 600 requests, 0 failed \(0%\), p99 40 ms/);
  assert.match(
    text,
    /threshold +45\.9 ms: stable's p99 over 9 windows, and its margin; of stable's 5,400 requests 0 were slower than 45\.9 ms/,
  );
  assert.match(
    text,
    /persistence key +satisfied: without its worst window 200 of 4,000 \(5%\), p(?:≈1\/[\d,]+|<1e-12); a failure requires 0\.8%/,
  );
});

test("if stable is affected too, the explanation states its rate and the comparison", () => {
  const { record, text } = explained((fleet) => {
    for (const gateway of fleet.gateways) gateway.errors = 10;
  }, 70);
  assert.equal(record.body.verdict, "hold", text);
  assert.match(
    text,
    /environment key +not satisfied: at stable's rate \(10%\) 60 of 600 expected, observed 60; no more than at twice stable's rate/,
  );
  assert.match(text, /stable accounts for it: this range is a hold, environment/);
});

test("a verdict is explained under the policy that it recorded, even when the policy file has changed", () => {
  const { record, verdicts, text } = explained((fleet) => {
    for (const gateway of fleet.slice("canary")) gateway.errors = 2;
  }, 70);
  const currentPolicy = { mode: "literal", evidence: "strict", thresholds: { max5xxRate: 0.2, maxP99: "30ms" } } as const;
  const { config } = createSimulatedFleet({ policy: currentPolicy, azs: ["az-a"] });
  assert.equal(explanation(record, verdicts, config).join("\n"), text);
});

test("an explanation from incomplete records warns that its figures may differ", () => {
  const { record, verdicts, config, text } = explained((fleet) => {
    for (const gateway of fleet.slice("canary")) gateway.errors = 1;
  }, 70);
  assert.doesNotMatch(text, /Recomputed figures may differ/);
  const remaining = verdicts.slice(verdicts.findLastIndex(({ body }) => body.window?.index !== record.body.window?.index) + 1);
  assert.match(explanation(record, remaining, config).join("\n"), /Recomputed figures may differ/);
});

test("a pass states which rates are ruled out, and a window without requests states that nothing was judged", () => {
  const healthy = explained(() => undefined, 60);
  assert.equal(healthy.record.body.verdict, "pass");
  assert.match(healthy.text, /5% \(10 x the ceiling\) is ruled out at 95% confidence/);
  const silent = explained((fleet) => {
    for (const gateway of fleet.gateways) gateway.requests = 0;
  }, 70);
  assert.match(silent.text, /no requests in this window/);
});

test("windows that closed while the run was pending or warming up are not part of the judgment", () => {
  const fleet = createSimulatedFleet({ policy: { mode: "two-key", warmup: "45s" }, azs: ["az-a"] });
  fleet.advance(100);
  fleet.publishControl({ verb: "announce", caller: "flagger", revision: "v2" });
  fleet.advance(100);
  fleet.publishControl({ verb: "weight", caller: "flagger", weight: 10, revision: "v2" });
  fleet.advance(150);
  const { verdicts } = reduceFleet(fleet);
  const record = verdicts.at(-1)!;
  const judged = new Set(verdicts.filter(({ body }) => body.judge.noise !== null).map(({ body }) => body.window!.index)).size;
  assert.ok(judged > 1 && record.body.window!.index >= judged, "some windows closed before the run was active");
  const text = explanation(record, verdicts, fleet.config).join("\n");
  assert.match(text, new RegExp(`the ${judged} windows since the start: 0 of `));
  assert.doesNotMatch(text, /Recomputed figures may differ/);
});
