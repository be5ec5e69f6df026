/**
 * Serializes answers. A body is serialized once per verdict, cut to the size limit, and cached without its closing brace.
 * The parts of one request (caller, measurement index, lane) are appended to it.
 */
import type { LaneRecord } from "@aviary/shared/contract/lane.ts";
import { MAX_ANSWER_BYTES, type VerdictBody } from "@aviary/shared/contract/verdict.ts";

/** Bytes reserved for the parts of one request: without a lane, and with one. */
export const REQUEST_BYTES = 192;
export const REQUEST_BYTES_WITH_LANE = 416;

type Cut = (body: VerdictBody) => VerdictBody;

const keepReasons =
  (count: number): Cut =>
  (body) => {
    const left = body.reasons.length - count;
    if (left <= 0) return body;
    // The latch is also in `run.latched_by`, but its cause only in the reasons.
    const causes = body.reasons.filter(({ code }) => code !== "latched");
    const latched = body.reasons.filter(({ code }) => code === "latched");
    return { ...body, reasons: [...causes, ...latched].slice(0, count), reasons_more: (body.reasons_more ?? 0) + left };
  };
const keepWarnings =
  (count: number): Cut =>
  (body) => ({ ...body, warnings: body.warnings.slice(0, count) });
const shortTexts =
  (chars: number): Cut =>
  (body) => ({
    ...body,
    reasons: body.reasons.map((reason) => ({ ...reason, text: cutText(reason.text, chars) })),
    warnings: body.warnings.map((warning) => ({ ...warning, text: cutText(warning.text, chars) })),
  });
const withoutCurrent: Cut = ({ current, ...body }) => body;
/** Keys that gates and audits read from the stored record. */
const withoutAudit: Cut = (body) => {
  if (body.run === null) return body;
  const { weight_claims, granted, promotion_granted, cleared, ...run } = body.run;
  return { ...body, run: run as VerdictBody["run"] };
};
/** Only the promoter reads the hashes, and it reads them from the stream. */
const withoutHashes: Cut = (body) => ({
  ...body,
  run: body.run === null ? null : { ...body.run, announced_hash: null, stable_hash: null },
});
const withoutNoise: Cut = (body) => ({ ...body, judge: { ...body.judge, noise: null } });

/** Rounds rates to five digits. Further digits are noise, and an unrounded quotient takes twenty characters. */
const roundFigures: Cut = (body) => {
  const round = (rate: number | null): number | null => (rate === null ? null : Number(rate.toFixed(5)));
  const slice = <F extends VerdictBody["canary"]>(figures: F): F => ({
    ...figures,
    "5xx_rate": round(figures["5xx_rate"]),
    error_rate_5xx: round(figures.error_rate_5xx),
    p99_ms: round(figures.p99_ms),
  });
  const luck = body.judge.luck === null ? null : Number(body.judge.luck.toPrecision(3));
  return {
    ...body,
    canary: slice(body.canary),
    stable: body.stable === null ? null : slice(body.stable),
    judge: { ...body.judge, luck },
    reasons: body.reasons.map((reason) =>
      reason.value === undefined ? reason : { ...reason, value: Number(reason.value.toPrecision(5)) },
    ),
  };
};

/** The last resort, for names of maximum length. */
const shortNames: Cut = (body) => ({
  ...body,
  reasons: body.reasons.map(({ code, text }) => ({ code, text })),
  gateway: { ...body.gateway, gateway_version: body.gateway.gateway_version?.slice(0, 8) ?? null },
  run: body.run === null ? null : { ...body.run, controller_revision: body.run.controller_revision?.slice(0, 8) ?? null },
});

const withoutSkillHash: Cut = (body) => ({ ...body, gateway: { ...body.gateway, skill_hash: null, gateway_version: null } });

/**
 * Cuts in order: first the keys that no program reads, then the later reasons. The first reason that is a cause always stays,
 * complete if possible.
 */
const CUTS: readonly Cut[] = [
  roundFigures,
  withoutHashes,
  withoutAudit,
  withoutCurrent,
  keepWarnings(2),
  keepReasons(3),
  withoutNoise,
  keepWarnings(1),
  keepReasons(2),
  keepWarnings(0),
  keepReasons(1),
  shortTexts(100),
  shortTexts(40),
  shortNames,
  shortTexts(20),
  withoutSkillHash,
];

function cutText(text: string, chars: number): string {
  return text.length <= chars ? text : `${text.slice(0, chars - 1)}…`;
}

/**
 * Serializes a body without its closing brace, with `reserved` bytes left for the parts of a request.
 * The limit is 2 KiB because Argo Rollouts stores every measurement in etcd. `/api/v1/canaries/<namespace>/<name>` serves the
 * complete body.
 */
export function openJson(body: VerdictBody, stale: boolean, reserved: number): OpenJson {
  let cut = body;
  let text = serialize(cut, stale);
  for (const step of CUTS) {
    if (Buffer.byteLength(text) <= MAX_ANSWER_BYTES - reserved) break;
    cut = step(cut);
    text = serialize(cut, stale);
  }
  return { text, last: undefined };
}

function serialize(body: VerdictBody, stale: boolean): string {
  const text = JSON.stringify(body);
  return stale ? `${text.slice(0, -1)},"stale":true` : text.slice(0, -1);
}

/** A JSON answer without the parts of a request. */
export interface OpenJson {
  readonly text: string;
  /** The last complete answer and its closing part. All callers of a class get the same answer within one measurement. */
  last: { readonly closing: string; readonly answer: Buffer } | undefined;
}

/** The lane as KEDA reads it. Without a record `depth` is null, which KEDA treats as an error: it keeps the replicas. */
export type Scale = Omit<LaneRecord, "depth" | "depth_true" | "replicas" | "max_replicas" | "changed_at" | "reasons"> & {
  readonly depth: number | null;
  readonly depth_true: number | null;
  readonly replicas: number | null;
  readonly max_replicas: number | null;
  readonly changed_at: string | null;
  readonly reasons: readonly string[];
};

/** The parts of one request. */
export interface RequestParts {
  readonly key: "flagger" | "rollout" | "keda";
  /** The name of the canary or the lane. */
  readonly label: string;
  readonly index: number;
  readonly caller: string;
  readonly conflict: boolean;
  readonly scale?: Scale;
}

/** Appends the parts of a request. A lane whose record does not fit is cut to its numbers. The bytes must not be changed. */
export function closeJson(open: OpenJson, parts: RequestParts): Buffer {
  const closing = requestText(parts, parts.scale);
  if (open.last?.closing === closing) return open.last.answer;
  const whole = Buffer.from(open.text + closing);
  const fits = parts.scale === undefined || whole.length <= MAX_ANSWER_BYTES;
  const answer = fits ? whole : Buffer.from(open.text + requestText(parts, numbersOf(parts.scale)));
  open.last = { closing, answer };
  return answer;
}

const numbersOf = ({ depth, depth_true, replicas, max_replicas, allow, degraded_ticks }: Scale): Partial<Scale> => ({
  depth,
  depth_true,
  replicas,
  max_replicas,
  allow,
  degraded_ticks,
});

function requestText({ key, label, index, caller, conflict }: RequestParts, scale: Partial<Scale> | undefined): string {
  const lane = scale === undefined ? "" : `,"scale":${JSON.stringify(scale)}`;
  const mark = conflict ? ',"caller_conflict":true' : "";
  return `,"${key}":${JSON.stringify(label)},"measurement":{"index":${index},"caller":"${caller}"}${lane}${mark}}`;
}

/**
 * The index of a measurement: `floor((now − since) / interval) + 1`, 0 without a run. Derived, so all replicas and repeated
 * calls agree.
 */
export function measurementIndex(sinceMs: number | undefined, nowMs: number, intervalMs: number): number {
  return sinceMs === undefined ? 0 : Math.max(0, Math.floor((nowMs - sinceMs) / intervalMs)) + 1;
}
