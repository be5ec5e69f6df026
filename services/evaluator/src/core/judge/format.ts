/** Formats numbers and clauses for reason texts. A reason has at most MAX_REASON_TEXT characters: clauses that do not fit are omitted. */
import { MAX_REASON_TEXT } from "@aviary/shared/contract/reasons.ts";

/** The first clause, and as many of the others as fit, in order, with a full stop. */
export function fitClauses(first: string, ...more: readonly (string | null)[]): string {
  let text = first.length >= MAX_REASON_TEXT ? `${first.slice(0, MAX_REASON_TEXT - 4)}...` : first;
  for (const clause of more) {
    if (clause !== null && text.length + clause.length < MAX_REASON_TEXT) text += clause;
  }
  return `${text}.`;
}

/** A figure as stored in a reason: six significant digits, which keeps answers small. */
export function roundedFigure(value: number): number {
  return Number(value.toPrecision(6));
}

/** 12345 as "12,345". */
export function grouped(count: number): string {
  return String(Math.round(count)).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** A ratio in percent, to two significant digits or better: 0.005 as "0.5%", 0.021 as "2.1%". */
export function percent(share: number): string {
  const value = share * 100;
  if (value === 0) return "0%";
  const digits = value >= 10 ? 1 : Math.min(6, 1 - Math.floor(Math.log10(value)));
  return `${Number(value.toFixed(digits))}%`;
}

/** Milliseconds without needless digits. */
export function milliseconds(ms: number): string {
  return `${Number(ms.toPrecision(ms >= 100 ? Math.ceil(Math.log10(ms + 1)) : 3))} ms`;
}

/** A p-value as "p≈0.34" or "p≈1/700,000", to two significant digits; "p<1e-12" below that. @param sign "≤" for a limit */
export function pText(probability: number, sign: "≈" | "≤" = "≈"): string {
  if (!(probability > 1e-12)) return "p<1e-12";
  if (probability >= 0.1) return `p${sign}${Number(probability.toPrecision(2))}`;
  const odds = 1 / probability;
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(odds)) - 1);
  return `p${sign}1/${grouped(Math.round(odds / unit) * unit)}`;
}

/** "the last window", "the last 3 windows", "the 14 windows since the start". */
export function rangeText(windows: number, whole: boolean): string {
  if (windows === 1) return "the last window";
  return whole ? `the ${grouped(windows)} windows since the start` : `the last ${grouped(windows)} windows`;
}
