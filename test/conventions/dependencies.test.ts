/** Every package declares what it imports: an undeclared dependency works only while another package happens to install it. */
import assert from "node:assert/strict";
import { builtinModules } from "node:module";
import { it } from "node:test";
import { readSource, type Source } from "./source.ts";
import { codeFiles, exists, isProduct, readText } from "./tree.ts";

interface Manifest {
  readonly name: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

const manifestOf = (folder: string): Manifest => JSON.parse(readText(`${folder}package.json`)) as Manifest;
const root = manifestOf("");

/** The folder of the package that a file belongs to, with a trailing slash; empty for the root. */
function packageFolder(path: string): string {
  const parts = path.split("/");
  for (let count = parts.length - 1; count > 0; count -= 1) {
    const folder = `${parts.slice(0, count).join("/")}/`;
    if (exists(`${folder}package.json`)) return folder;
  }
  return "";
}

/** `@nats-io/jetstream` of `@nats-io/jetstream/internal`; undefined for relative paths and Node's own modules. */
function packageOf(specifier: string): string | undefined {
  if (/^(\.|\/|node:)/.test(specifier) || builtinModules.includes(specifier)) return undefined;
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}

/**
 * Imports that the file's package does not declare. The root's development dependencies are available only to tests and
 * tools.
 */
function undeclared(source: Source, manifest: Manifest): string[] {
  const declared = new Set([
    manifest.name,
    ...Object.keys(manifest.dependencies ?? {}),
    ...Object.keys(manifest.devDependencies ?? {}),
    ...(isProduct(source.path) ? [] : Object.keys(root.devDependencies ?? {})),
  ]);
  return source.imports.flatMap(({ specifier, line }) => {
    const wanted = packageOf(specifier);
    if (wanted === undefined || declared.has(wanted)) return [];
    // The root's own declaration of the workspaces makes them available to it.
    if (manifest.name === root.name && wanted.startsWith("@aviary/")) return [];
    return [`${source.path}:${line}: ${wanted} is not declared in the package.json of ${manifest.name}`];
  });
}

it("every package declares what it imports", () => {
  const manifests = new Map<string, Manifest>();
  const found = codeFiles().flatMap((path) => {
    const folder = packageFolder(path);
    const manifest = manifests.get(folder) ?? manifestOf(folder);
    manifests.set(folder, manifest);
    return undeclared(readSource(path, readText(path)), manifest);
  });
  assert.ok(manifests.size > 5, "the scan includes the workspaces");
  assert.deepEqual(found, []);
});

it("an undeclared import is reported with its file and line", () => {
  const source = readSource(
    "services/shim/src/x.ts",
    'import { parse } from "yaml";\nimport "node:fs";\nimport { z } from "zod";\n',
  );
  assert.deepEqual(undeclared(source, { name: "@aviary/shim", dependencies: { zod: "4" } }), [
    "services/shim/src/x.ts:1: yaml is not declared in the package.json of @aviary/shim",
  ]);
});
