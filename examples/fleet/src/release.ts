/** Releases of the local fleet: a gateway version plus its skill pack. In a real fleet the promoter installs them. */
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { changeGateway } from "./desired-state.ts";
import { type FleetGateway, type FleetPlan, paths } from "./layout.ts";

const SKILLS = ["code-review", "release-notes", "triage"] as const;

/** Installs a gateway version and its skill pack on one gateway. `isTampered` adds a file that the pack does not contain. */
export function installRelease(plan: FleetPlan, gateway: FleetGateway, version: string, isTampered = false): void {
  installSkills(plan, gateway, version, isTampered);
  changeGateway(plan, gateway.name, { version });
}

/** Installs the skill pack of a version on one gateway. A version has the same bytes, and so the same hash, everywhere. */
export function installSkills(plan: FleetPlan, gateway: FleetGateway, version: string, isTampered: boolean): void {
  const target = paths.skills(plan, gateway.name);
  const staging = `${target}.${process.pid}.partial`;
  const old = `${target}.${process.pid}.old`;
  for (const directory of [staging, old]) rmSync(directory, { recursive: true, force: true });
  mkdirSync(dirname(target), { recursive: true });
  for (const skill of SKILLS) {
    mkdirSync(join(staging, skill), { recursive: true });
    writeFileSync(
      join(staging, skill, "SKILL.md"),
      `---\nname: ${skill}\ndescription: The skill ${skill} of pack ${version}\n---\n`,
    );
  }
  if (isTampered) writeFileSync(join(staging, SKILLS[0], "PATCH.md"), `Edited on ${gateway.name}, outside the pack.\n`);
  try {
    renameSync(target, old);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  renameSync(staging, target);
  rmSync(old, { recursive: true, force: true });
}
