/**
 * The full check of a change: format and lint, types, all tests. Tests that this machine cannot run are skipped and listed at the
 * end with the reason; with `CI` set a skip is a failure. Arguments select test files by a part of their path: `npm test -- fleet
 * judge`.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { fetchServer, locateServer, SERVER_NAMES, type ServerName } from "../libs/shared/src/testing/fetch-servers.ts";
import { locateTestServer } from "../libs/shared/src/testing/servers.ts";
import type { TestOutcome } from "./test-outcome.ts";

const PROJECT = fileURLToPath(new URL("..", import.meta.url));
const OUTCOME = join(PROJECT, ".aviary", "test-outcome.json");
/** Concurrent files: several of them start their own servers. */
const CONCURRENCY = 2;
/** Stops the runner if a file never ends; the runner reports the file. */
const ALL_WITHIN_MS = 30 * 60_000;
const TEST_PLACES = ["libs", "services", "cli", "examples", "tools", "scripts", "test"];
const NOT_OURS = new Set(["node_modules", "dist", ".aviary", "fixtures"]);

function main(parts: readonly string[]): number {
  provideServers();
  const failures: string[] = [];
  const step = (what: string, file: string, args: readonly string[]): void => {
    console.log(`\n▶ ${what}`);
    const { status } = spawnSync(process.execPath, [join(PROJECT, file), ...args], { cwd: PROJECT, stdio: "inherit" });
    if (status !== 0) failures.push(what);
  };
  step("format and lint", "node_modules/@biomejs/biome/bin/biome", ["check", "."]);
  step("types", "node_modules/typescript/bin/tsc", ["-p", "."]);

  const files = testFiles().filter((file) => parts.length === 0 || parts.some((part) => file.includes(part)));
  if (files.length === 0) {
    console.error(`no test file has ${parts.join(" or ")} in its path`);
    return 1;
  }
  console.log(`\n▶ tests (${files.length} files, ${CONCURRENCY} at a time)`);
  const passed = runTests(files);
  if (!passed) failures.push("tests");
  return report(failures);
}

/**
 * Locates the servers that tests need, and fetches missing ones. Tests whose server is unavailable are skipped or fail
 * themselves.
 */
function provideServers(): void {
  for (const name of SERVER_NAMES) {
    if (locateServer(name) === undefined) fetchOrWarn(name);
  }
  // Some tests need features of nats-server 2.11, and stable distributions contain older ones.
  if (locateTestServer("nats-current") === undefined) fetchOrWarn("nats-server");
}

function fetchOrWarn(name: ServerName): void {
  try {
    console.log(`Fetching ${name} …`);
    fetchServer(name);
  } catch (error) {
    console.log((error as Error).message);
  }
}

function testFiles(): string[] {
  const found: string[] = [];
  const walk = (directory: string): void => {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const path = join(directory, entry.name);
      if (entry.isDirectory() && !NOT_OURS.has(entry.name)) walk(path);
      else if (entry.isFile() && entry.name.endsWith(".test.ts")) found.push(relative(PROJECT, path).split(sep).join("/"));
    }
  };
  for (const place of TEST_PLACES) walk(join(PROJECT, place));
  return found.filter((path) => path.split("/").includes("test")).sort();
}

function runTests(files: readonly string[]): boolean {
  mkdirSync(join(PROJECT, ".aviary"), { recursive: true });
  rmSync(OUTCOME, { force: true });
  const reporters = [
    ...["--test-reporter=spec", "--test-reporter-destination=stdout"],
    ...[`--test-reporter=${new URL("test-outcome.ts", import.meta.url)}`, `--test-reporter-destination=${OUTCOME}`],
  ];
  const args = ["--test", `--test-concurrency=${CONCURRENCY}`, ...reporters, ...files];
  return spawnSync(process.execPath, args, { cwd: PROJECT, stdio: "inherit", timeout: ALL_WITHIN_MS }).status === 0;
}

function report(failures: string[]): number {
  const outcome = readOutcome();
  if (outcome === undefined) failures.push("the test runner ended without a result");
  const skipped = outcome?.skipped ?? [];
  if (skipped.length > 0) {
    console.log("\nSkipped:");
    for (const { name, file, reason } of skipped) console.log(`  ${relative(PROJECT, file)}: ${name}: ${reason}`);
    if (process.env.CI) failures.push(`${skipped.length} skipped, and with CI set nothing may be`);
  }
  console.log(`\n# pass ${outcome?.pass ?? 0}\n# fail ${outcome?.fail ?? 0}\n# skipped ${skipped.length}`);
  console.log(failures.length === 0 ? "All checks passed." : `Failed: ${failures.join("; ")}.`);
  return failures.length === 0 ? 0 : 1;
}

function readOutcome(): TestOutcome | undefined {
  try {
    return JSON.parse(readFileSync(OUTCOME, "utf8")) as TestOutcome;
  } catch {
    return undefined;
  }
}

process.exitCode = main(process.argv.slice(2));
