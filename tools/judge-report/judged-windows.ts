/** One simulated run, as whoever counts its end sees it. */
export type OtherJudge = "literal" | "mann-whitney" | "flagger" | "argo";
export type JudgeName = "two-key" | OtherJudge;

/** One run as a cell sees it: window by window, what each judge says. */
export interface JudgedWindows {
  /** @returns the judges that fail the run in this window, of those that had not. */
  next(): readonly JudgeName[];
  /** What the two-key rule said of the last window. */
  readonly said: { readonly suspicious: boolean; readonly promote: boolean };
  readonly judges: number;
}
