/**
 * The prerequisites of every `npm run`, on any installed Node (18 or newer): a Node that runs TypeScript, and the packages of the
 * lock file. This file is therefore plain JavaScript without packages.
 */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ensureNode } from "./fetch-node.mjs";

export const PROJECT = dirname(dirname(fileURLToPath(import.meta.url)));
const MODULES = join(PROJECT, "node_modules");
const STAMP = join(MODULES, ".aviary-lock-hash");

/** Installs what is missing, and returns the path of a Node that runs this project. */
export async function prepare() {
  const node = await ensureNode();
  installPackages();
  return node;
}

/** Runs `npm ci` if node_modules is absent or does not match the lock file. */
function installPackages() {
  const hash = createHash("sha256")
    .update(readFileSync(join(PROJECT, "package-lock.json")))
    .digest("hex");
  if (readText(STAMP) === hash) return;
  if (!installedAsLocked()) {
    console.log("Installing the packages of package-lock.json (npm ci) …");
    const { npm_execpath: npm } = process.env;
    const [command, first] = npm?.endsWith(".js") ? [process.execPath, [npm]] : ["npm", []];
    const { status } = spawnSync(command, [...first, "ci", "--no-audit", "--no-fund", "--loglevel=error"], {
      cwd: PROJECT,
      stdio: "inherit",
    });
    if (status !== 0) throw new Error("npm ci failed (see above): nothing was started");
  }
  writeFileSync(STAMP, hash);
}

/** Whether every installed package has the version of the lock file, and no required one is missing. */
function installedAsLocked() {
  const installed = readJson(join(MODULES, ".package-lock.json"))?.packages;
  if (installed === undefined) return false;
  const locked = readJson(join(PROJECT, "package-lock.json"))?.packages ?? {};
  return Object.entries(locked).every(([path, entry]) => {
    if (path === "" || !path.startsWith("node_modules/")) return true;
    const found = installed[path];
    if (found === undefined) return entry.optional === true;
    return found.link === true ? existsSync(join(PROJECT, path)) : found.version === entry.version;
  });
}

/** Replaces this process as far as Node allows: with the same terminal, signals and exit code. */
export function runInstead(node, args) {
  const child = spawn(node, args, { cwd: PROJECT, stdio: "inherit" });
  // Ctrl-C reaches the child directly, because it belongs to the terminal; this process only waits for it.
  process.on("SIGINT", () => {});
  for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => {
    console.error(`cannot start ${node}: ${error.message}`);
    process.exit(1);
  });
  child.on("exit", (code, signal) => process.exit(signal === null ? (code ?? 1) : 1));
}

function readText(path) {
  return existsSync(path) ? readFileSync(path, "utf8") : undefined;
}

function readJson(path) {
  const text = readText(path);
  return text === undefined ? undefined : JSON.parse(text);
}
