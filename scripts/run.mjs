/**
 * The entry point of every `npm run`, on any installed Node: prepares this machine, then runs a program with the Node that the
 * project requires.
 */
import { join } from "node:path";
import { PROJECT, prepare, runInstead } from "./setup.mjs";

const [program, ...args] = process.argv.slice(2);
try {
  if (program === undefined) throw new Error("usage: node scripts/run.mjs <program.ts> [arguments]");
  const node = await prepare();
  runInstead(node, [join(PROJECT, program), ...args]);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
