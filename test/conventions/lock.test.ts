/**
 * The lock file contains the builds of the tools for every platform. `npm install` on one platform can omit the others, and
 * `npm ci` on a Mac then installs a tool without its binary.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readText } from "./tree.ts";

interface Entry {
  readonly version?: string;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly link?: boolean;
  readonly os?: readonly string[];
  readonly cpu?: readonly string[];
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly hasInstallScript?: boolean;
}
const packages = (JSON.parse(readText("package-lock.json")) as { packages: Record<string, Entry> }).packages;
const root = JSON.parse(readText("package.json")) as Record<string, Record<string, string>>;

const TOOLS = ["@biomejs/biome", "turbo", "esbuild", "typescript"];
const MACHINES = [
  ["darwin", "arm64"],
  ["darwin", "x64"],
  ["linux", "arm64"],
  ["linux", "x64"],
] as const;

describe("package-lock.json", () => {
  for (const tool of TOOLS) {
    for (const [os, cpu] of MACHINES) {
      it(`contains the build of ${tool} for ${os} ${cpu}`, () => {
        const entry = packages[`node_modules/${tool}`];
        assert.ok(entry, `${tool} is not in the lock: run npm install`);
        const builds = Object.entries(entry.optionalDependencies ?? {}).map(
          ([name, version]) => [name, version, packages[`node_modules/${name}`]] as const,
        );
        const found = builds.find(([, , build]) => build?.os?.includes(os) && build.cpu?.includes(cpu));
        assert.ok(
          found,
          `${tool} ${entry.version} has no build for ${os} ${cpu} in the lock: pin a version that has one (CONTRIBUTING.md)`,
        );
        assert.equal(found[2]?.version, found[1], `${found[0]} is not at the version required by ${tool} ${entry.version}`);
      });
    }
  }

  it("contains an integrity hash for every package", () => {
    const bare = Object.entries(packages).filter(
      ([path, entry]) => path.includes("node_modules/") && !entry.link && !entry.integrity,
    );
    assert.deepEqual(
      bare.map(([path]) => path),
      [],
    );
  });

  it("contains no download URL, so that the local registry setting applies", () => {
    const placed = Object.entries(packages).filter(([, entry]) => entry.resolved !== undefined && !entry.link);
    assert.deepEqual(
      placed.map(([path, entry]) => `${path} ${entry.resolved}`),
      [],
    );
  });

  it("denies every install script by name", () => {
    const rejected = root.allowScripts as unknown as Record<string, boolean>;
    const asking = Object.entries(packages).filter(([, entry]) => entry.hasInstallScript);
    for (const [path] of asking) {
      const name = path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
      assert.equal(rejected[name], false, `${name} has an install script: add it to allowScripts in package.json as false`);
    }
  });

  it("pins every build tool to an exact version", () => {
    for (const [name, version] of Object.entries(root.devDependencies ?? {})) {
      if (name.startsWith("@types/")) continue;
      assert.match(version, /^\d+\.\d+\.\d+$/, `${name} ${version}: a range lets two machines build with different tools`);
      assert.equal(packages[`node_modules/${name}`]?.version, version, `${name}: lock and package.json differ`);
    }
  });
});
