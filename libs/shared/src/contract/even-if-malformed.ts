import { isMapping } from "./mapping.ts";

/**
 * Zod skips the refinement of a value in which anything else is wrong. With these parameters it runs, so that one report contains
 * every problem; its function must tolerate a value of any shape.
 */
export const EVEN_IF_MALFORMED = { when: () => true } as const;

/** Whether all of these fields are numbers, so that they can be compared: a text would be converted. */
export const areNumbers = (value: unknown, ...keys: readonly string[]): boolean =>
  isMapping(value) && keys.every((key) => typeof value[key] === "number");
