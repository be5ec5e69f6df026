import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseSignal } from "@aviary/shared/contract/signal.ts";
import { collectorBoot, makeSignal } from "../../src/core/envelope.ts";

describe("the envelope", () => {
  it("conforms to the signal contract", () => {
    const gateway = { az: "az-a", fleet: "payments", gateway: "mac-a1" };
    const boot = collectorBoot(1_795_238_930_250, "0123456789abcdef");
    const sender = { gateway, slice: "canary", boot, fragmentHash: "c".repeat(64) } as const;
    const release = { gatewayVersion: null, skillHash: null };
    const signal = makeSignal(sender, {
      release,
      seq: 7,
      kind: "queue",
      tick: { atMs: 1_795_238_930_250, periodMs: 5_000 },
      body: { lane: "l", role: "build", depth: 3 },
    });
    assert.ok(parseSignal(signal).success);
    assert.equal(signal.id, `az-a.payments.mac-a1.${boot}.7`);
    assert.equal(signal.observed_at, "2026-11-21T05:28:50.250Z");
  });
  it("has boot ids that sort by start time", () => {
    assert.ok(collectorBoot(1_795_238_930_250, "f".repeat(16)) < collectorBoot(1_795_238_930_251, "0".repeat(16)));
  });
});
