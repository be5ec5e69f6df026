/** Reads `aviary.yaml` and the policies it refers to. All problems of all files are in one report. */
import { dirname, resolve } from "node:path";
import { type FleetFile, fleetFileSchema } from "../contract/fleet.ts";
import { referenceProblems } from "../contract/fleet-references.ts";
import { contentId } from "../contract/ids.ts";
import { defaultPolicy, hashedPolicy, type Policy, policySchema } from "../contract/policy.ts";
import { ConfigError, type ConfigProblem, checkConfig, formatPath, isUnreadable, readYamlFile, type YamlFile } from "./config.ts";

export interface Fleet {
  readonly fleet: FleetFile;
  /** By `<namespace>/<name>`; canaries that refer to the same file share one policy. */
  readonly policies: ReadonlyMap<string, Policy>;
  /** 64 hex digits over the fleet file and all policies; a checkpoint written under another hash is not restored. */
  readonly policyHash: string;
}

/** How to select another fleet file for a service. */
const FLEET_FILE_HINT = "set AVIARY_FLEET_FILE";

/**
 * Reads the fleet file and every policy it refers to; policy paths are relative to the fleet file.
 * @param hint how to select another fleet file, if there is none at `path`
 * @throws ConfigError with every problem of every file: unreadable, not YAML, or not matching the schema
 */
export async function loadFleet(path: string, hint = FLEET_FILE_HINT): Promise<Fleet> {
  const file = await readYamlFile(path, { kind: "fleet file", hint });
  const checked = checkConfig(file.source, file.value, fleetFileSchema, file.lineOf, referenceProblems(file.value));
  const problems: ConfigProblem[] = checked.ok ? [] : [...checked.problems];
  // Policies are read even if the fleet file has problems, so that one report is complete.
  const wanted = policyPaths(file.value);
  const namedBy = new Map([...wanted].reverse().map(([canary, name]) => [name, ["canaries", canary, "policy"]] as const));
  const byPath = new Map<string, Policy>();
  for (const name of new Set(wanted.values())) {
    const read = await readPolicy(resolve(dirname(path), name));
    if (read.ok) byPath.set(name, read.value);
    else problems.push(...read.problems.map((problem) => placed(problem, file, name, namedBy.get(name) ?? [])));
  }
  if (!checked.ok || problems.length > 0) throw new ConfigError(problems);
  const policies = new Map<string, Policy>();
  for (const [key, { policy }] of Object.entries(checked.value.canaries))
    policies.set(key, byPath.get(policy) ?? defaultPolicy());
  const hashed = Array.from(policies, ([key, policy]) => [key, hashedPolicy(policy)]);
  const policyHash = contentId([checked.value, Object.fromEntries(hashed)], 64);
  return { fleet: checked.value, policies, policyHash };
}

/** Reports an unreadable policy at the line that refers to it. */
function placed(problem: ConfigProblem, file: YamlFile, name: string, keys: readonly string[]): ConfigProblem {
  if (!isUnreadable(problem)) return problem;
  const line = file.lineOf(keys);
  return {
    source: file.source,
    ...(line === undefined ? {} : { line }),
    path: formatPath(keys),
    found: `${JSON.stringify(name)} (${problem.source} ${problem.reason})`,
    expected: "the path of a policy, relative to the fleet file",
  };
}

function policyPaths(value: unknown): Map<string, string> {
  const paths = new Map<string, string>();
  const canaries = (value as { canaries?: unknown } | null)?.canaries;
  if (typeof canaries !== "object" || canaries === null) return paths;
  for (const [key, canary] of Object.entries(canaries)) {
    const policy = (canary as { policy?: unknown } | null)?.policy;
    if (typeof policy === "string" && policy !== "") paths.set(key, policy);
  }
  return paths;
}

type Read = { readonly ok: true; readonly value: Policy } | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

async function readPolicy(path: string): Promise<Read> {
  try {
    const file = await readYamlFile(path);
    return checkConfig(file.source, file.value, policySchema, file.lineOf);
  } catch (error) {
    if (error instanceof ConfigError) return { ok: false, problems: error.problems };
    throw error;
  }
}
