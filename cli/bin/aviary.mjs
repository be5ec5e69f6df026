#!/usr/bin/env node
/** Runs the command line on this Node, or on the one in `.aviary/node` if this one cannot run TypeScript. */
import { spawn } from "node:child_process";
import * as nodeModule from "node:module";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";
import { findNode } from "../../scripts/fetch-node.mjs";

const node = findNode();
if (node === undefined) {
  console.error(
    `aviary needs Node 22.18 or newer; this is ${process.versions.node}. Run \`npm start\` once, or: node scripts/fetch-node.mjs`,
  );
  process.exit(1);
}
if (node === process.execPath) {
  // Caches compiled modules between calls, which more than halves the start-up time. A bundle does not benefit.
  nodeModule.enableCompileCache?.();
  await import(new URL("../src/main.ts", import.meta.url).href);
} else {
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: "inherit" });
  // Ctrl-C reaches the child through the terminal; this process waits for its exit code.
  process.on("SIGINT", () => {});
  process.on("SIGTERM", () => child.kill("SIGTERM"));
  child.on("exit", (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
}
