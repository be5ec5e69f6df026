/** Answers with their JSON, serialized on first use and cached for as long as the verdict. */
import { type OpenJson, openJson } from "./answer-json.ts";
import { type AnalysisConcern, concernAnswer, type VerdictAnswer } from "./verdict-answer.ts";

/** An answer with its JSON, serialized on first use. */
export interface PreparedAnswer {
  readonly answer: VerdictAnswer;
  /** The body's JSON without its closing brace, with `reserved` bytes left below the size limit. */
  open(reserved: number): OpenJson;
  /** The answer as judged by one concern only. */
  concern(concern: AnalysisConcern): PreparedAnswer;
}

/** Wraps an answer with its caches. */
export function prepare(answer: VerdictAnswer): PreparedAnswer {
  const openings = new Map<number, OpenJson>();
  const concerns = new Map<AnalysisConcern, PreparedAnswer>();
  return {
    answer,
    open: (reserved) => {
      const known = openings.get(reserved);
      if (known !== undefined) return known;
      const text = openJson(answer.body, answer.stale, reserved);
      openings.set(reserved, text);
      return text;
    },
    concern: (concern) => {
      const known = concerns.get(concern);
      if (known !== undefined) return known;
      const made = prepare(concernAnswer(answer, concern));
      concerns.set(concern, made);
      return made;
    },
  };
}
