/** `npm start`: prepares this machine, then runs `start.ts` with the Node that the project needs. */
import { join } from "node:path";
import { PROJECT, prepare, runInstead } from "./setup.mjs";

try {
  const node = await prepare();
  runInstead(node, [join(PROJECT, "scripts/start.ts"), ...process.argv.slice(2)]);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
