#!/usr/bin/env node
/** Starts the command line under a Node that runs TypeScript: this one, or the one that `npm start` put into `.aviary/node`. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { findNode } from "../../scripts/fetch-node.mjs";

const node = findNode();
if (node === undefined) {
  console.error(
    `aviary needs Node 22.18 or newer, this is ${process.versions.node}. Run \`npm start\` once, or: node scripts/fetch-node.mjs`,
  );
  process.exit(1);
}
const main = fileURLToPath(new URL("../src/main.ts", import.meta.url));
if (node === process.execPath) await import(main);
else process.exit(spawnSync(node, [main, ...process.argv.slice(2)], { stdio: "inherit" }).status ?? 1);
