/**
 * References between the keys of `aviary.yaml`. The file may be malformed elsewhere. Every part with the expected shape is checked,
 * so that one report contains every problem.
 */
import { isMapping, type Mapping } from "./mapping.ts";

export interface ReferenceProblem {
  readonly path: (string | number)[];
  readonly message: string;
}

const MAX_NAMES_SHOWN = 12;

/** All references of the file that do not resolve, and all names that should be unique and are not. */
export function referenceProblems(file: unknown): ReferenceProblem[] {
  if (!isMapping(file)) return [];
  const { fleets, canaries, lanes } = file;
  return [
    ...duplicateGateways(fleets),
    ...unknownFleets(canaries, fleets),
    ...laneProblems(canaries, lanes ?? {}),
    ...laneAzProblems(file),
  ];
}

function duplicateGateways(fleets: unknown): ReferenceProblem[] {
  return entriesOf(fleets).flatMap(([name, fleet]) => {
    const seen = new Set<string>();
    return listOf(fleet, "gateways").flatMap((gateway, index): ReferenceProblem[] => {
      if (!isMapping(gateway) || typeof gateway.az !== "string" || typeof gateway.name !== "string") return [];
      const key = `${gateway.az}/${gateway.name}`;
      if (!seen.has(key)) {
        seen.add(key);
        return [];
      }
      const path = ["fleets", name, "gateways", index, "name"];
      return [{ path, message: `expected a unique name: gateway ${key} is listed twice` }];
    });
  });
}

function unknownFleets(canaries: unknown, fleets: unknown): ReferenceProblem[] {
  if (!isMapping(fleets)) return [];
  return entriesOf(canaries).flatMap(([name, canary]): ReferenceProblem[] => {
    if (!isMapping(canary) || typeof canary.fleet !== "string" || Object.hasOwn(fleets, canary.fleet)) return [];
    return [{ path: ["canaries", name, "fleet"], message: `expected the name of a fleet of this file: ${namesOf(fleets)}` }];
  });
}

/** Lanes that a canary names must exist, and belong to one canary only. */
function laneProblems(canaries: unknown, lanes: unknown): ReferenceProblem[] {
  if (!isMapping(lanes)) return [];
  const owners = new Map<string, string>();
  return entriesOf(canaries).flatMap(([name, canary]) =>
    listOf(canary, "lanes").flatMap((lane, index): ReferenceProblem[] => {
      if (typeof lane !== "string") return [];
      const path = ["canaries", name, "lanes", index];
      const owner = owners.get(lane);
      owners.set(lane, name);
      const problems: ReferenceProblem[] = [];
      if (!Object.hasOwn(lanes, lane))
        problems.push({ path, message: `expected the name of a lane of this file: ${namesOf(lanes)}` });
      if (owner !== undefined)
        problems.push({ path, message: `expected a lane that no other canary uses: ${lane} belongs to ${owner}` });
      return problems;
    }),
  );
}

/**
 * A lane must be in an AZ of its canary's fleet, because no other collector reads its depth. A lane without a canary may be in any
 * AZ.
 */
function laneAzProblems({ fleets, canaries, lanes }: Mapping): ReferenceProblem[] {
  const azsByFleet = new Map(entriesOf(fleets).map(([name, fleet]) => [name, azsOf(fleet)]));
  const everywhere = [...azsByFleet.values()].flat();
  return entriesOf(lanes).flatMap(([name, lane]): ReferenceProblem[] => {
    if (!isMapping(lane) || typeof lane.az !== "string") return [];
    const owner = entriesOf(canaries).find(([, canary]) => listOf(canary, "lanes").includes(name))?.[1];
    const fleet = isMapping(owner) && typeof owner.fleet === "string" ? owner.fleet : undefined;
    const azs = fleet === undefined ? everywhere : (azsByFleet.get(fleet) ?? []);
    // A fleet without gateways is reported separately.
    if (azs.length === 0 || azs.includes(lane.az)) return [];
    const names = [...new Set(azs)].slice(0, MAX_NAMES_SHOWN).join(", ");
    return [{ path: ["lanes", name, "az"], message: `expected an AZ in which the fleet has a gateway: ${names}` }];
  });
}

function azsOf(fleet: unknown): string[] {
  return listOf(fleet, "gateways").flatMap((gateway) =>
    isMapping(gateway) && typeof gateway.az === "string" ? [gateway.az] : [],
  );
}

const entriesOf = (value: unknown): [string, unknown][] => (isMapping(value) ? Object.entries(value) : []);

function listOf(value: unknown, key: string): readonly unknown[] {
  const list = isMapping(value) ? value[key] : undefined;
  return Array.isArray(list) ? list : [];
}

/** The keys of a mapping for an error message, at most a dozen. */
function namesOf(mapping: Mapping): string {
  const names = Object.keys(mapping);
  if (names.length === 0) return "the file defines none";
  const more = names.length - MAX_NAMES_SHOWN;
  return `${names.slice(0, MAX_NAMES_SHOWN).join(", ")}${more > 0 ? `, and ${more} more` : ""}`;
}
