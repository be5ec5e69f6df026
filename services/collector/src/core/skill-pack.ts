/** The skills of a gateway: pack hash, count and changes. */

import { hashLines } from "@aviary/shared/contract/ids.ts";
import type { SignalBody } from "@aviary/shared/contract/signal.ts";

/** One managed root: its configured name and the lines of its tree hash. */
export interface SkillRoot {
  readonly name: string;
  readonly hash: string;
  readonly lines: readonly string[];
}

/** Hash by skill at the previous reading; null before the first. */
export type SkillState = ReadonlyMap<string, string> | null;

/**
 * With one root the pack's hash is the root's tree hash, so that it equals the hash verified by a promotion. With several it is the hash of
 * lines `<name> <tree hash>`, sorted. A skill is a directory directly below a root; `count` counts those that contain a `SKILL.md`.
 */
export function skillPack(roots: readonly SkillRoot[], before: SkillState): { body: SignalBody<"skills">; state: SkillState } {
  const [only] = roots;
  const packHash =
    roots.length === 1 && only !== undefined ? only.hash : hashLines(roots.map((root) => `${root.name} ${root.hash}`).sort());
  const skills = new Map<string, string>();
  let count = 0;
  for (const root of roots) {
    for (const [skill, lines] of linesBySkill(root.lines)) {
      skills.set(roots.length === 1 ? skill : `${root.name}/${skill}`, hashLines(lines));
      if (lines.some((line) => /^[fx] \S.*\/SKILL\.md [0-9a-f]{64}$/.test(line))) count += 1;
    }
  }
  return { body: { pack_hash: packHash, count, changed: before === null ? [] : changes(before, skills) }, state: skills };
}

/** Groups lines by the first segment of their path. */
function linesBySkill(lines: readonly string[]): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const line of lines) {
    const path = line.slice(2);
    const slash = path.indexOf("/");
    const skill = slash === -1 ? nameOf(line) : path.slice(0, slash);
    const known = found.get(skill);
    if (known === undefined) found.set(skill, [line]);
    else known.push(line);
  }
  return found;
}

/** The name of a file, link or empty directory directly below the root. */
function nameOf(line: string): string {
  if (line.startsWith("d ")) return line.slice(2);
  return line.startsWith("l ") ? line.slice(2, line.indexOf(" ", 2)) : line.slice(2, -65);
}

/** Added, changed and removed skills, sorted; truncated to the signal's limits. */
function changes(before: ReadonlyMap<string, string>, now: ReadonlyMap<string, string>): string[] {
  const names = new Set([...before.keys(), ...now.keys()]);
  const changed = [...names].filter((name) => before.get(name) !== now.get(name)).sort();
  return changed.slice(0, 64).map((name) => name.slice(0, 120));
}
