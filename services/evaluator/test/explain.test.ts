import assert from "node:assert/strict";
import { test } from "node:test";
import { explanation } from "../src/verbs/explain.ts";
import { createSimulatedFleet, foldFleet } from "./fold/simulated-fleet.ts";

function toldOf(spoil: (fleet: ReturnType<typeof createSimulatedFleet>) => void, seconds: number) {
  const fleet = createSimulatedFleet({ policy: { mode: "two-key" }, azs: ["az-a"] });
  fleet.advance(300);
  fleet.say({ verb: "announce", caller: "rollouts", revision: "v2" });
  fleet.advance(200);
  spoil(fleet);
  fleet.advance(seconds);
  const { verdicts } = foldFleet(fleet);
  const record = verdicts.at(-1)!;
  return { record, text: explanation(record, verdicts, fleet.setup).join("\n") };
}

test("a hold is explained key by key, with the figures of the verdict itself", () => {
  const { record, text } = toldOf((fleet) => {
    for (const gateway of fleet.slice("canary")) gateway.errors = 2;
  }, 70);
  assert.equal(record.body.verdict, "hold");
  const { requests, errors_5xx } = record.body.canary;
  assert.ok(text.includes(`the last window: ${errors_5xx} of ${requests} requests failed`), text);
  assert.match(text, /rate key +turned: reaches 0\.5 %/);
  assert.match(text, /luck key +not turned: luck explains this once in [\d,]+ times; a fail asks for once in 4,000 times/);
  assert.match(text, /steady key +not turned: one window alone fails only from 4 %/);
  assert.match(text, /learned from \d+ windows/);
  assert.match(text, /not all keys turned/);
});

test("a fail is explained by a stretch whose four keys turned", () => {
  const { record, text } = toldOf((fleet) => {
    for (const gateway of fleet.slice("canary")) gateway.errors = 10;
  }, 65);
  assert.equal(record.body.verdict, "fail", text);
  assert.match(text, /all four keys turned: this stretch fails the run/);
});

test("a pass says what is ruled out, a window without requests says that nothing was judged", () => {
  const healthy = toldOf(() => undefined, 60);
  assert.equal(healthy.record.body.verdict, "pass");
  assert.match(healthy.text, /5 % \(10 x the limit\) is ruled out at 95 %/);
  const silent = toldOf((fleet) => {
    for (const gateway of fleet.gateways) gateway.requests = 0;
  }, 70);
  assert.match(silent.text, /no request in this window/);
});
