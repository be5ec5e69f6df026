/** A copy of one service with one injected defect, for the tests which prove that a simulation detects it. */
import assert from "node:assert/strict";
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Service, sourceOf } from "./product.ts";

/** Inside the project, so that packages are found, and in an ignored directory. */
const COPIES = fileURLToPath(new URL("../../.aviary/mutants", import.meta.url));

/** One replacement in one file of a service. */
export interface Defect {
  readonly name: string;
  /** Below services/<service>/src; the evaluator's by default. */
  readonly service?: Service;
  readonly file: string;
  /** Must occur exactly once; line breaks are ignored. */
  readonly from: string;
  readonly to: string;
}

/** Writes a copy of the service with the defect. Returns its directory, which the caller removes. */
export function writeMutatedCopy(defect: Defect): string {
  const root = join(COPIES, defect.name);
  rmSync(root, { recursive: true, force: true });
  cpSync(sourceOf(defect.service ?? "evaluator"), root, { recursive: true });
  const path = join(root, defect.file);
  const text = readFileSync(path, "utf8");
  const words = defect.from.trim().split(/\s+/);
  const pattern = new RegExp(words.map((word) => word.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("\\s+"), "g");
  const matches = [...text.matchAll(pattern)].length;
  assert.equal(
    matches,
    1,
    `${defect.file} contains the text of ${defect.name} ${matches} times instead of once: update the mutant`,
  );
  writeFileSync(
    path,
    text.replace(pattern, () => defect.to),
  );
  return root;
}
