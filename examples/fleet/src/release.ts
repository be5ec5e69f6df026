/** Releases of the local fleet: what a gateway's version and skill pack are. A real fleet gets them from the promoter; here they are written in place. */
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { changeGateway } from "./control.ts";
import { type FleetGateway, type FleetPlan, places } from "./layout.ts";

const SKILLS = ["code-review", "release-notes", "triage"] as const;

/** Puts a gateway version with its skill pack on one gateway. `tampered` adds a file that the pack does not have. */
export function installRelease(plan: FleetPlan, gateway: FleetGateway, version: string, tampered = false): void {
  installSkills(plan, gateway, version, tampered);
  changeGateway(plan, gateway.name, { version });
}

/** Puts the skill pack of a version on one gateway: the same version has the same bytes everywhere, so the same hash. */
export function installSkills(plan: FleetPlan, gateway: FleetGateway, version: string, tampered: boolean): void {
  const target = places.skills(plan, gateway.name);
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
  if (tampered) writeFileSync(join(staging, SKILLS[0], "PATCH.md"), `Edited on ${gateway.name}, outside the pack.\n`);
  try {
    renameSync(target, old);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  renameSync(staging, target);
  rmSync(old, { recursive: true, force: true });
}
