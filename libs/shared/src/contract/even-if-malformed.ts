import { isMapping } from "./mapping.ts";

/**
 * Zod skips the refinement of a value that has another problem. With these parameters the refinement always runs, so that one
 * report contains every problem. Its function must therefore tolerate a value of any shape.
 */
export const EVEN_IF_MALFORMED = { when: () => true } as const;

/** Whether all of these fields are numbers and can be compared; text would be converted. */
export const areNumbers = (value: unknown, ...keys: readonly string[]): boolean =>
  isMapping(value) && keys.every((key) => typeof value[key] === "number");
