/** Simulates the requests and failures of a run, by window and sub-window. */
import { SLOTS } from "@aviary/shared/contract/policy.ts";
import type { Random } from "../../libs/shared/src/testing/random.ts";
import { betaRate, binomial, geometric, normal } from "./distributions.ts";
import type { Burst, Scenario, Traffic } from "./scenario.ts";
import { at, rampShare, WINDOW_SECONDS, WINDOWS } from "./scenario.ts";

/** One slice in one window: requests and failures per sub-window. */
export interface SliceCounts {
  readonly requests: readonly number[];
  readonly failures: readonly number[];
}

export interface AzCounts {
  readonly canary: SliceCounts;
  readonly stable: SliceCounts;
}

/** One window, AZ by AZ. */
export type SimulatedWindow = readonly AzCounts[];

export interface SimulatedRun {
  /** Stable before the run: windows, AZ by AZ. */
  readonly reference: readonly (readonly SliceCounts[])[];
  /** The next window. */
  next(): SimulatedWindow;
}

const NO_TRAFFIC: SliceCounts = { requests: new Array(SLOTS).fill(0), failures: new Array(SLOTS).fill(0) };
const SLOT_SECONDS = WINDOW_SECONDS / SLOTS;
/** The coefficient of variation of irregular counts: 0.9. */
const IRREGULAR = Math.sqrt(Math.log1p(0.9 ** 2));

export function simulateRun(scenario: Scenario, random: Random): SimulatedRun {
  const { azs, incident, knowledge, overdispersion = 0, spike, stable, windows = WINDOWS } = scenario;
  const phase = random();
  const spikeAt = Math.floor(random() * windows);
  const incidentAt = incident === undefined ? -1 : (incident.at ?? Math.floor(random() * (windows - incident.windows + 1)));
  const unequal = incident === undefined ? 1 : 1 + incident.unequal * (2 * random() - 1);
  let t = 0;

  const slice = (requests: number, rate: number): SliceCounts => {
    if (requests <= 0) return NO_TRAFFIC;
    const n = evenly(requests);
    return { requests: n, failures: failures(random, n, betaRate(random, rate, overdispersion), scenario.burst) };
  };

  const reference: (readonly SliceCounts[])[] = [];
  const referenceRates = azs?.stableRates;
  if (typeof knowledge === "object" && "windows" in knowledge) {
    const badAt = knowledge.incident === undefined ? 0 : 1 + Math.floor(random() * knowledge.windows);
    for (let k = knowledge.windows; k > 0; k--) {
      const requests =
        scenario.traffic.kind === "ramp" ? scenario.traffic.requests : requestsOf(scenario.traffic, -k, phase, random);
      const rates = referenceRates ?? [knowledge.rate];
      const each = Math.round((knowledge.times * requests) / rates.length);
      reference.push(rates.map((rate) => slice(each, k === badAt ? knowledge.incident! : rate)));
    }
  }

  const next = (): SimulatedWindow => {
    const total = requestsOf(scenario.traffic, t, phase, random);
    const stableTotal =
      stable === undefined ? 0 : scenario.traffic.kind === "ramp" ? scenario.traffic.requests - total : stable.times * total;
    const shared = incident !== undefined && t >= incidentAt && t < incidentAt + incident.windows;
    const window = (azs?.rates ?? [at(scenario.rate, t)]).map((own, k, { length }): AzCounts => {
      const rate = shared ? Math.min(1, own + incident.rate * unequal) : own;
      const stableOwn = azs?.stableRates[k] ?? stable?.rate ?? 0;
      const canary = slice(Math.round(total / length), rate);
      if (spike !== undefined && t === spikeAt) addSpike(random, canary, spike);
      return {
        canary,
        stable: slice(Math.round(stableTotal / length), shared ? Math.min(1, stableOwn + incident.rate) : stableOwn),
      };
    });
    t++;
    return window;
  };
  return { reference, next };
}

/** Requests on the canary in window `t`; windows before the run have negative numbers. */
function requestsOf(traffic: Traffic, t: number, phase: number, random: Random): number {
  switch (traffic.kind) {
    case "steady":
      return traffic.requests;
    case "daily":
      return Math.round(traffic.requests * (3.5 - 2.5 * Math.cos(2 * Math.PI * (phase + t / WINDOWS))));
    case "alternating":
      return (t & 1) === 0 ? traffic.low : traffic.high;
    case "idle":
      return t >= 0 && t < traffic.windows ? 0 : traffic.requests;
    case "irregular":
      return Math.round(traffic.requests * Math.exp(IRREGULAR * normal(random) - IRREGULAR ** 2 / 2));
    case "ramp":
      return Math.round(traffic.requests * rampShare(t));
  }
}

/** Distributes requests over the sub-windows; the remainder goes to the first ones. */
function evenly(requests: number): number[] {
  const each = Math.floor(requests / SLOTS);
  const left = requests - each * SLOTS;
  return Array.from({ length: SLOTS }, (_, k) => each + (k < left ? 1 : 0));
}

function failures(random: Random, n: readonly number[], rate: number, burst: Burst | undefined): number[] {
  if (burst === undefined) return n.map((requests) => binomial(random, requests, rate));
  const x = n.map(() => 0);
  const bursts = binomial(
    random,
    n.reduce((sum, one) => sum + one, 0),
    rate / burst.size,
  );
  for (let k = 0; k < bursts; k++) {
    const start = random() * WINDOW_SECONDS;
    for (let left = geometric(random, burst.size); left > 0; left--) {
      const slot = Math.min(SLOTS - 1, Math.floor((start + random() * burst.seconds) / SLOT_SECONDS));
      if (x[slot]! < n[slot]!) x[slot]!++;
    }
  }
  return x;
}

/** Draws the failures of a spike in addition to the others. */
function addSpike(random: Random, { requests: n, failures: x }: SliceCounts, spike: NonNullable<Scenario["spike"]>): void {
  const start =
    spike.withinSlot === true
      ? Math.floor(random() * SLOTS) * SLOT_SECONDS + random() * (SLOT_SECONDS - spike.seconds)
      : random() * (WINDOW_SECONDS - spike.seconds);
  for (let k = 0; k < SLOTS; k++) {
    const overlap = Math.min(start + spike.seconds, (k + 1) * SLOT_SECONDS) - Math.max(start, k * SLOT_SECONDS);
    const within = Math.round((n[k]! * Math.max(0, overlap)) / SLOT_SECONDS);
    // Requests within the spike fail at its rate instead; the others were drawn already.
    const others = binomial(random, x[k]!, 1 - within / Math.max(1, n[k]!));
    (x as number[])[k] = Math.min(n[k]!, others + binomial(random, within, spike.rate));
  }
}
