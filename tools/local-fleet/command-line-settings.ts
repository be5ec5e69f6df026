/**
 * The files through which the command line finds the running fleet without environment variables: connection settings and run
 * directory. The fleet started last owns both. When it stops, the files revert to the previous fleet, if that one is still running.
 */
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { CURRENT_FILE, type FleetPlan, SETTINGS_FILE, writeFileAtomically } from "../../examples/fleet/src/layout.ts";
import { isLocked } from "./directory-lock.ts";
import type { LocalTokens } from "./tokens.ts";

/**
 * Records this fleet. @returns a function that removes the record, unless a later fleet has replaced it; safe in an exit handler
 */
export function recordFleet(project: string, plan: FleetPlan, tokens: LocalTokens): () => void {
  const settingsFile = join(project, SETTINGS_FILE);
  const currentFile = join(project, CURRENT_FILE);
  const before = { settings: contentOf(settingsFile), current: contentOf(currentFile) };
  const settings = settingsText(plan, tokens);
  const current = `${plan.directory}\n`;
  writeFileAtomically(currentFile, current);
  writeFileAtomically(settingsFile, settings, 0o600);
  return () => {
    const isPreviousRunning = before.current !== undefined && before.current !== current && isLocked(before.current.trim());
    if (contentOf(settingsFile) === settings) {
      if (isPreviousRunning && before.settings !== undefined) writeFileAtomically(settingsFile, before.settings, 0o600);
      else rmSync(settingsFile, { force: true });
    }
    // `aviary fleet` also changes a stopped fleet, for its next start.
    if (isPreviousRunning && before.current !== undefined && contentOf(currentFile) === current)
      writeFileAtomically(currentFile, before.current);
  };
}

function settingsText(plan: FleetPlan, tokens: LocalTokens): string {
  const settings = {
    AVIARY_URL: `http://${plan.host}:${plan.shimPort}`,
    AVIARY_TOKEN: tokens.operator,
    AVIARY_FLEET_FILE: plan.fleetFile,
    // Null, because there is no broker and no other one must be used instead.
    AVIARY_NATS_URL: plan.natsPort === undefined ? null : `nats://${plan.host}:${plan.natsPort}`,
  };
  return `${JSON.stringify(settings, null, 2)}\n`;
}

function contentOf(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
