/** Tokens of the local fleet: one per caller class, created once, and readable by their owner only. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { CALLER_CLASSES, type CallerClass } from "@aviary/shared/contract/fleet.ts";
import { type FleetPlan, paths, writeFileAtomically } from "../../examples/fleet/src/layout.ts";
import { generateToken, hashToken } from "../../services/shim/src/auth/tokens.ts";

export type LocalTokens = Readonly<Record<CallerClass, string>>;

/** Reads the tokens of an earlier start, creates missing ones, and writes the file of hashes for the shim. */
export function prepareTokens(plan: FleetPlan): LocalTokens {
  const entries = CALLER_CLASSES.map((caller) => [caller, keptOrNew(tokenFile(plan, caller))] as const);
  const lines = entries.map(([caller, token]) => `- { id: local-${caller}, caller: ${caller}, sha256: ${hashToken(token)} }`);
  writeFileAtomically(
    paths.tokensFile(plan),
    `# Written by npm start; the tokens are stored next to this file.\n${lines.join("\n")}\n`,
    0o600,
  );
  return Object.fromEntries(entries) as unknown as LocalTokens;
}

export function tokenFile(plan: FleetPlan, caller: CallerClass): string {
  return join(plan.directory, "config", `${caller}.token`);
}

function keptOrNew(file: string): string {
  try {
    const kept = readFileSync(file, "utf8").trim();
    if (kept !== "") return kept;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  const { token } = generateToken();
  writeFileAtomically(file, `${token}\n`, 0o600);
  return token;
}
