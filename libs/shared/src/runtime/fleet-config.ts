/** Reading `aviary.yaml` and the policies that it names. All problems of all files come in one report. */
import { dirname, resolve } from "node:path";
import { type FleetFile, fleetFileSchema } from "../contract/fleet.ts";
import { contentId } from "../contract/ids.ts";
import { defaultPolicy, type Policy, policySchema } from "../contract/policy.ts";
import { ConfigError, type ConfigProblem, checkConfig, formatPath, isUnreadable, readYamlFile, type YamlFile } from "./config.ts";

export interface Fleet {
  readonly fleet: FleetFile;
  /** By `<namespace>/<name>`; canaries that name the same file share one policy. */
  readonly policies: ReadonlyMap<string, Policy>;
  /** 64 hex digits over the fleet file and all policies as read: a checkpoint under another hash is not continued. */
  readonly policyHash: string;
}

/**
 * Reads the fleet file and every policy that it names; policy paths are relative to the fleet file.
 * @throws ConfigError with every problem of every file: what cannot be read, is not YAML, or does not fit its schema.
 */
export async function loadFleet(path: string): Promise<Fleet> {
  const file = await readFleetFile(path);
  const checked = checkConfig(file.source, file.value, fleetFileSchema, file.lineOf);
  const problems: ConfigProblem[] = checked.ok ? [] : [...checked.problems];
  // Where the fleet file itself has problems its policies are read all the same, so that one report has everything.
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
  const policyHash = contentId([checked.value, Object.fromEntries(policies)], 64);
  return { fleet: checked.value, policies, policyHash };
}

async function readFleetFile(path: string): Promise<YamlFile> {
  try {
    return await readYamlFile(path);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const expected = "a readable fleet file; AVIARY_FLEET_FILE, or --fleet for a verb, says where it is";
    throw new ConfigError(
      error.problems.map((problem) => (isUnreadable(problem) ? { ...problem, expected } : problem)),
      error,
    );
  }
}

/** A policy that cannot be read is a problem of the line that names it. */
function placed(problem: ConfigProblem, file: YamlFile, name: string, keys: readonly string[]): ConfigProblem {
  if (!isUnreadable(problem)) return problem;
  const line = file.lineOf(keys);
  return {
    source: file.source,
    ...(line === undefined ? {} : { line }),
    path: formatPath(keys),
    found: `${JSON.stringify(name)} (${problem.found} at ${problem.source})`,
    expected: "the path of a policy, from the fleet file on",
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
