/**
 * How long an observed fact remains known. Two periods and the grace after its observation it is unknown: if a probe fails, its
 * last fact must not stay in force.
 */
import type { Policy } from "@aviary/shared/contract/policy.ts";
import { DEFAULT_PERIOD_MS, staleAtMs } from "@aviary/shared/contract/signal.ts";
import type { SignalKind } from "@aviary/shared/contract/subjects.ts";
import type { GatewayState, Observation } from "./gateway.ts";

/** Synthetic traffic has its own age. */
export type FactKind = SignalKind | "synthetic";

/** The part of a policy that an age depends on. */
export type AgePolicy = Pick<Policy, "windowMs" | "graceMs">;

/**
 * When a fact becomes unknown, milliseconds since the epoch. The period in a signal is a claim, which is capped at the policy's
 * window, or at the default period for kinds that are rarer than a window.
 */
export function factStaleAtMs(
  kind: FactKind,
  { observedAtMs, periodMs }: Pick<Observation, "observedAtMs" | "periodMs">,
  { windowMs, graceMs }: AgePolicy,
): number {
  const longestMs = Math.max(windowMs, DEFAULT_PERIOD_MS[kind === "synthetic" ? "http" : kind]);
  return staleAtMs({ observedAtMs, periodMs: Math.min(periodMs, longestMs) }, graceMs);
}

/** Whether the newest signal of a kind is still current at `atMs`. */
export function isCurrent({ seen }: Pick<GatewayState, "seen">, kind: FactKind, policy: AgePolicy, atMs: number): boolean {
  const observation = seen.get(kind);
  return observation !== undefined && atMs < factStaleAtMs(kind, observation, policy);
}
