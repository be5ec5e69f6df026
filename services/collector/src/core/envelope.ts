/** The envelope around a probe reading: sender, release, time and sequence number. */
import type { Signal, SignalBody } from "@aviary/shared/contract/signal.ts";
import { type GatewayRef, type SignalKind, signalMessageId } from "@aviary/shared/contract/subjects.ts";
import type { Tick } from "./schedule.ts";

/** Constant while a collector runs. */
export interface SignalSender {
  readonly gateway: GatewayRef;
  readonly slice: "canary" | "stable";
  readonly boot: string;
  readonly fragmentHash: string;
}

/** The gateway's release as last observed; null before the first observation. */
export interface ObservedRelease {
  readonly gatewayVersion: string | null;
  readonly skillHash: string | null;
}

/**
 * The boot id of one collector process: start time in base 36, a dash, 16 hex digits.
 * @param randomHex 64 random bits as hex, so that two collectors started in the same millisecond differ.
 */
export function collectorBoot(startedAtMs: number, randomHex: string): string {
  return `${Math.floor(startedAtMs).toString(36)}-${randomHex}`;
}

/** The part of a signal that is not its sender. */
export interface SignalContent<K extends SignalKind> {
  readonly release: ObservedRelease;
  /** Counts from 1 across all kinds of one boot. */
  readonly seq: number;
  readonly kind: K;
  readonly tick: Tick;
  readonly body: SignalBody<K>;
}

/** Builds a complete signal. */
export function makeSignal<K extends SignalKind>(sender: SignalSender, content: SignalContent<K>): Signal {
  const { release, seq, kind, tick, body } = content;
  const { az, fleet, gateway } = sender.gateway;
  return {
    v: 1,
    id: signalMessageId(sender.gateway, sender.boot, seq),
    az,
    fleet,
    gateway,
    collector_boot: sender.boot,
    seq,
    slice: sender.slice,
    gateway_version: release.gatewayVersion,
    skill_hash: release.skillHash,
    fragment_hash: sender.fragmentHash,
    observed_at: new Date(tick.atMs).toISOString(),
    period_ms: tick.periodMs,
    kind,
    body,
  } as unknown as Signal;
}
