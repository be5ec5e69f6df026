/** The problems of configuration files as values, for `aviary config check`. */
import { ConfigError, type ConfigProblem } from "../runtime/config.ts";

/** Every problem that loading reports; empty when it succeeds. */
export async function problemsOf(loading: Promise<unknown>): Promise<readonly ConfigProblem[]> {
  try {
    await loading;
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}
