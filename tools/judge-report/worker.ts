/** A thread of `pool.ts`: simulates parts of cells until it is terminated. */
import { parentPort, workerData } from "node:worker_threads";
import type { Mutation } from "./mutations.ts";
import { mutateKeys } from "./mutations.ts";
import type { Task } from "./pool.ts";

const { mutation } = workerData as { readonly mutation: Mutation | null };
if (mutation !== null) mutateKeys(mutation);
// Imported late: the judge must be loaded after the hooks.
const { simulate } = await import("./cell.ts");

parentPort!.on("message", ({ cell, from, to }: Task) => parentPort!.postMessage(simulate(cell, from, to)));
