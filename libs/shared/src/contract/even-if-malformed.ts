/**
 * Zod skips the refinement of a value in which anything else is wrong. With these parameters it runs, so that one report contains
 * every problem; its function must tolerate a value of any shape.
 */
export const EVEN_IF_MALFORMED = { when: () => true } as const;

/** Whether a value has fields to refine: YAML may contain a number, a text or nothing where a mapping is expected. */
export const hasFields = (value: unknown): boolean => typeof value === "object" && value !== null;
