/** One simulated run, as counted by a cell. */
export type OtherJudge = "literal" | "mann-whitney" | "flagger" | "argo";
export type JudgeName = "two-key" | OtherJudge;

/** One run: window by window, the result of each judge. */
export interface JudgedWindows {
  /** @returns the judges that fail the run in this window, of those that had not failed it before */
  next(): readonly JudgeName[];
  /** The two-key rule's result for the last window. */
  readonly result: { readonly suspicious: boolean; readonly promote: boolean; readonly pass: boolean };
  readonly judges: number;
}
