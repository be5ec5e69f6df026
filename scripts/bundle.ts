/**
 * Bundles each service into one file, `dist/<name>.mjs`, that needs only Node: the packages for Macs, and the content of the
 * container image.
 *
 *     node scripts/bundle.ts [--out dist] [collector shim …]
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build, type Plugin } from "esbuild";
import { OLDEST } from "./fetch-node.mjs";

const PROJECT = fileURLToPath(new URL("..", import.meta.url));

const ENTRIES: Readonly<Record<string, string>> = {
  collector: "services/collector/src/main.ts",
  evaluator: "services/evaluator/src/main.ts",
  shim: "services/shim/src/main.ts",
  notifier: "services/notifier/src/main.ts",
  promoter: "services/promoter/src/main.ts",
  aviary: "cli/src/main.ts",
};

/**
 * Importing `node:http` in an ES module reads all of its exports, one of which (`WebSocket`) loads Node's fetch: 13 MB. `require`
 * reads only what is used. The same applies to other built-in modules, to a lesser degree.
 */
const requireBuiltIns: Plugin = {
  name: "require-built-ins",
  setup({ onResolve, onLoad }) {
    const namespace = "built-in";
    onResolve({ filter: /^node:/ }, (found) =>
      found.namespace === namespace ? { path: found.path, external: true } : { path: found.path, namespace },
    );
    onLoad({ filter: /^/, namespace }, ({ path }) => ({ contents: `module.exports = require(${JSON.stringify(path)});` }));
  },
};

/**
 * The object `z` contains all of zod, with its messages in fifty languages: 9 MB. A namespace import contains only the used parts.
 */
const partOfZod: Plugin = {
  name: "part-of-zod",
  setup({ onLoad }) {
    onLoad({ filter: /\/(libs|services|cli|examples)\/.*\.ts$/ }, async ({ path }) => ({
      contents: (await readFile(path, "utf8")).replace(/^import \{ z \} from "zod";$/m, 'import * as z from "zod";'),
      loader: "ts",
    }));
  },
};

/**
 * An older Node would fail at the first missing function. Some packages are CommonJS and need `require` for built-in modules, which
 * an ES module does not have.
 */
const BANNER = `
import { createRequire as aviaryRequire } from "node:module";
{
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < ${OLDEST[0]} || (major === ${OLDEST[0]} && minor < ${OLDEST[1]})) {
    console.error(\`Aviary needs Node ${OLDEST.join(".")} or newer; this is \${process.versions.node} (\${process.execPath})\`);
    process.exit(1);
  }
}
const require = aviaryRequire(import.meta.url);
`.trim();

/** Every service of this checkout that can be bundled. */
export function bundleNames(): string[] {
  return Object.keys(ENTRIES).filter((name) => existsSync(join(PROJECT, ENTRIES[name] ?? "")));
}

/** Bundles the named services into `out`. @returns path and size of each, bytes */
export async function bundle(names: readonly string[], out: string): Promise<{ name: string; file: string; bytes: number }[]> {
  const unknown = names.filter((name) => !bundleNames().includes(name));
  if (unknown.length > 0) throw new Error(`cannot bundle ${unknown.join(", ")}; known are ${bundleNames().join(", ")}`);
  const result = await build({
    entryPoints: Object.fromEntries(names.map((name) => [name, join(PROJECT, ENTRIES[name] ?? "")])),
    outdir: out,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node22",
    banner: { js: BANNER },
    legalComments: "linked",
    plugins: [requireBuiltIns, partOfZod],
    // Names are kept for stack traces; comments are removed, because one character beyond Latin-1 doubles the memory of the whole
    // text.
    minifyWhitespace: true,
    minifySyntax: true,
    logLevel: "warning",
    metafile: true,
  });
  return Object.entries(result.metafile.outputs).flatMap(([path, { bytes, entryPoint }]) => {
    const name = names.find((candidate) => entryPoint === ENTRIES[candidate]);
    return name === undefined ? [] : [{ name, file: resolve(path), bytes }];
  });
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { out: { type: "string", default: "dist" } } });
  const names = positionals.length === 0 ? bundleNames() : positionals;
  process.chdir(PROJECT);
  for (const { file, bytes } of await bundle(names, resolve(values.out))) console.log(`${file} ${Math.round(bytes / 1024)} KiB`);
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  await main();
}
