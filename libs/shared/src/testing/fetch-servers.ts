/**
 * Locates the servers Aviary needs on this machine, and fetches missing ones without changing the system.
 *
 * Fetching works on Debian and its derivatives: a private apt directory below `.aviary/`, built from the machine's own package
 * sources and keys (signatures are verified), `apt-get download`, and `dpkg-deb -x`. It needs no root, installs nothing and
 * starts nothing.
 *
 *     node libs/shared/src/testing/fetch-servers.ts [nats-server redis-server caddy nginx rsync ...]     prints the path of each, fetching it if necessary
 */
import { execFileSync } from "node:child_process";
import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export type ServerName = "nats-server" | "redis-server" | "caddy" | "nginx" | "rsync";

export const SERVER_NAMES: readonly ServerName[] = ["nats-server", "redis-server", "caddy", "nginx", "rsync"];

const PROJECT = resolve(fileURLToPath(new URL("../../../..", import.meta.url)));
const STORE = join(PROJECT, ".aviary", "servers");

interface Recipe {
  /** Names of the program; the first one found is used. */
  readonly programs: readonly string[];
  /** Variables with the program's path, in order of precedence. */
  readonly variables: readonly string[];
  /** Sets of packages that each contain the whole program; the first available set is used. */
  readonly packages: readonly (readonly string[])[];
  /** Also download missing dependencies; not needed for programs that link only libc. */
  readonly withDependencies: boolean;
  /** Newer Debian suites to prefer, because the machine's own may contain an unsupported version. */
  readonly newerSuites: readonly string[];
  readonly brew: string;
  /** How the program shows its version; `--version` by default. */
  readonly versionArgument?: string;
}

const RECIPES: Readonly<Record<ServerName, Recipe>> = {
  "nats-server": {
    programs: ["nats-server"],
    variables: ["AVIARY_NATS_SERVER_BIN", "NATS_SERVER_BIN"],
    packages: [["nats-server"]],
    withDependencies: false,
    newerSuites: ["sid", "testing"],
    brew: "nats-server",
  },
  "redis-server": {
    programs: ["redis-server", "valkey-server"],
    variables: ["AVIARY_REDIS_SERVER_BIN", "REDIS_SERVER_BIN"],
    packages: [
      ["redis-server", "redis-tools"],
      ["valkey-server", "valkey-tools"],
    ],
    withDependencies: true,
    newerSuites: [],
    brew: "valkey",
  },
  caddy: {
    programs: ["caddy"],
    variables: ["AVIARY_CADDY_BIN", "CADDY_BIN"],
    packages: [["caddy"]],
    withDependencies: false,
    newerSuites: [],
    brew: "caddy",
    versionArgument: "version",
  },
  nginx: {
    programs: ["nginx"],
    variables: ["AVIARY_NGINX_BIN", "NGINX_BIN"],
    // Until 23.04, Ubuntu has the program in a separate package.
    packages: [["nginx"], ["nginx-core"]],
    withDependencies: true,
    newerSuites: [],
    brew: "nginx",
    versionArgument: "-v",
  },
  rsync: {
    programs: ["rsync"],
    variables: ["AVIARY_RSYNC_BIN", "RSYNC_BIN"],
    packages: [["rsync"]],
    withDependencies: true,
    newerSuites: [],
    brew: "rsync",
  },
};

/** Every location of the server on this machine, in order of preference: variable, PATH, system folders, Homebrew, fetched. */
export function serverCandidates(name: ServerName, env: NodeJS.ProcessEnv = process.env): string[] {
  const { programs, variables } = RECIPES[name];
  const named = variables.map((variable) => env[variable]).find((path) => path !== undefined && path !== "");
  if (named !== undefined) {
    if (!isExecutable(named))
      throw new Error(`${variables.find((variable) => env[variable] === named)} is ${named}, which is not an executable file`);
    return [named];
  }
  const brewed = [env.HOMEBREW_PREFIX, "/opt/homebrew", "/usr/local", "/home/linuxbrew/.linuxbrew"].filter(
    (path) => path !== undefined && path !== "",
  );
  const folders = [
    ...(env.PATH ?? "").split(delimiter),
    "/usr/local/sbin",
    "/usr/sbin",
    "/sbin",
    ...brewed.map((prefix) => join(prefix as string, "bin")),
    join(STORE, name),
  ];
  const found = folders.filter((folder) => folder !== "").flatMap((folder) => programs.map((program) => join(folder, program)));
  return [...new Set(found)].filter(isExecutable);
}

/** The server's path, or undefined. @throws Error if a variable refers to something that is not a program */
export function locateServer(name: ServerName, env: NodeJS.ProcessEnv = process.env): string | undefined {
  return serverCandidates(name, env)[0];
}

/** Instructions for installing a missing server. */
export function howToInstall(name: ServerName): string {
  const { brew, variables } = RECIPES[name];
  return `${name} was not found: "brew install ${brew}" on a Mac, "node libs/shared/src/testing/fetch-servers.ts ${name}" on Debian or Ubuntu (installs nothing), or set ${variables.at(-1)}`;
}

/**
 * Downloads the server to `.aviary/servers/<name>` and returns its path. Replaces a previous download.
 * @throws Error with the reason, if this is not a Debian-like machine or the package is unavailable
 */
export function fetchServer(name: ServerName): string {
  if (process.platform !== "linux" || !onPath("apt-get") || !onPath("dpkg-deb"))
    throw new Error(`cannot fetch here: ${howToInstall(name)}`);
  const recipe = RECIPES[name];
  const release = readRelease();
  const sources = readAptSources();
  // Newer suites exist for Debian only: another distribution has neither their packages nor their keys.
  const suites = [...(release.id === "debian" ? recipe.newerSuites : []), undefined];
  const problems: string[] = [];
  for (const suite of suites) {
    const lines = suite === undefined ? sources.map((source) => source.line) : newerSource(sources, suite);
    if (lines.length === 0) continue;
    for (const wanted of recipe.packages) {
      try {
        return fetchFrom(lines, name, wanted);
      } catch (error) {
        problems.push(`${wanted.join(" + ")}${suite === undefined ? "" : ` from ${suite}`}: ${(error as Error).message}`);
      }
    }
  }
  throw new Error(
    `${name} could not be fetched:\n  ${problems.join("\n  ") || "this machine has no apt sources"}\n${howToInstall(name)}`,
  );
}

function fetchFrom(sourceLines: readonly string[], name: ServerName, wanted: readonly string[]): string {
  const recipe = RECIPES[name];
  const work = join(STORE, `.fetch-${name}-${process.pid}`);
  rmSync(work, { recursive: true, force: true });
  for (const folder of ["state/lists/partial", "cache/archives/partial", "debs", "root"])
    mkdirSync(join(work, folder), { recursive: true });
  try {
    writeFileSync(join(work, "sources.list"), `${sourceLines.join("\n")}\n`);
    const options = [
      ["Dir::Etc::SourceList", join(work, "sources.list")],
      ["Dir::Etc::SourceParts", "-"],
      ["Dir::State", join(work, "state")],
      ["Dir::State::Status", "/var/lib/dpkg/status"],
      ["Dir::Cache", join(work, "cache")],
      ["Acquire::Languages", "none"],
      ["Debug::NoLocking", "true"],
    ].flatMap(([key, value]) => ["-o", `${key}=${value}`]);
    const apt = (args: readonly string[]): string => run("apt-get", ["-q", ...options, ...args], join(work, "debs"));
    apt(["update"]);
    const packages = recipe.withDependencies ? missingPackages(apt, wanted) : wanted;
    apt(["download", ...packages]);
    for (const file of readdirSync(join(work, "debs")))
      run("dpkg-deb", ["-x", join(work, "debs", file), join(work, "root")], work);
    return adopt(name, join(work, "root"));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The packages with their missing dependencies; `--print-uris` only resolves. */
function missingPackages(apt: (args: readonly string[]) => string, wanted: readonly string[]): string[] {
  const listed = apt(["install", "--print-uris", "--reinstall", "--no-install-recommends", "-y", ...wanted]);
  const files = [...listed.matchAll(/^'[^']+' (\S+?)_\S+\.deb /gm)].map((match) => match[1] as string);
  return [...new Set([...wanted, ...files])];
}

/**
 * Moves the unpacked tree into place and adds a launcher with the program's name, which points the loader at the unpacked
 * libraries.
 */
function adopt(name: ServerName, unpacked: string): string {
  const home = join(STORE, name);
  const program = RECIPES[name].programs
    .flatMap((candidate) => ["usr/sbin", "usr/bin"].map((folder) => join(folder, candidate)))
    .find((path) => isExecutable(join(unpacked, path)));
  if (program === undefined) throw new Error("the package does not contain the program");
  rmSync(home, { recursive: true, force: true });
  mkdirSync(home, { recursive: true });
  renameSync(unpacked, join(home, "root"));
  const starter = join(home, program.slice(program.lastIndexOf("/") + 1));
  const libraries = findLibraryFolders(join(home, "root"));
  const path = `LD_LIBRARY_PATH="${libraries.join(":")}\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" `;
  writeFileSync(starter, `#!/bin/sh\n${libraries.length === 0 ? "" : path}exec "${join(home, "root", program)}" "$@"\n`);
  chmodSync(starter, 0o755);
  run(starter, [RECIPES[name].versionArgument ?? "--version"], home);
  return starter;
}

function findLibraryFolders(root: string): string[] {
  const folders = new Set<string>();
  for (const base of ["usr/lib", "lib"]) {
    if (!existsSync(join(root, base)) || lstatSync(join(root, base)).isSymbolicLink()) continue;
    for (const entry of readdirSync(join(root, base), { recursive: true, withFileTypes: true })) {
      if (/\.so(\.\d+)*$/.test(entry.name)) folders.add(entry.parentPath);
    }
  }
  return [...folders].sort();
}

export interface AptSource {
  readonly line: string;
  readonly uri: string;
  readonly options: string;
}

/** The machine's own package sources as one-line entries, from `sources.list` and both formats in `sources.list.d`. */
function readAptSources(): AptSource[] {
  const folder = "/etc/apt/sources.list.d";
  const files = ["/etc/apt/sources.list", ...(existsSync(folder) ? readdirSync(folder).map((file) => join(folder, file)) : [])];
  const all = files
    .filter((file) => existsSync(file))
    .flatMap((file) => parseAptSources(readFileSync(file, "utf8"), file.endsWith(".sources")));
  // Only the distribution's own archives. Others do not contain these servers, and an unreachable one would delay the fetch.
  const own = all.filter((source) => /\/(debian|debian-security|ubuntu|ubuntu-ports|raspbian)\/?$/.test(source.uri));
  return own.length > 0 ? own : all;
}

/** The binary package sources of one file, in the one-line format or in stanzas (deb822). */
export function parseAptSources(text: string, inStanzas: boolean): AptSource[] {
  return inStanzas ? parseStanzas(text) : parseLines(text);
}

function parseLines(text: string): AptSource[] {
  return [...text.matchAll(/^deb\s+(\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s*(.*)$/gm)].map((match) => {
    const options = (match[1] ?? "").trim();
    return { line: match[0], uri: match[2] as string, options };
  });
}

/** The deb822 format, where it has a one-line equivalent: a key as a path, not as a block of text. */
function parseStanzas(text: string): AptSource[] {
  return text.split(/\n\s*\n/).flatMap((stanza) => {
    const field = (key: string): string => new RegExp(`^${key}:[ \\t]*(.*)$`, "mi").exec(stanza)?.[1]?.trim() ?? "";
    if (!field("Types").split(/\s+/).includes("deb") || /^(no|false)$/i.test(field("Enabled"))) return [];
    const key = field("Signed-By");
    if ((key !== "" && !key.startsWith("/")) || stanza.includes("BEGIN PGP")) return [];
    const architectures = field("Architectures").replace(/\s+/g, ",");
    const parts = [key && `signed-by=${key}`, architectures && `arch=${architectures}`].filter((part) => part !== "");
    const options = parts.length === 0 ? "" : `[${parts.join(" ")}]`;
    return field("URIs")
      .split(/\s+/)
      .flatMap((uri) =>
        field("Suites")
          .split(/\s+/)
          .map((suite) => ({ line: `deb ${options} ${uri} ${suite} ${field("Components")}`, uri, options })),
      );
  });
}

/** The mirror and key of the machine's main source, with another suite. */
function newerSource(sources: readonly AptSource[], suite: string): string[] {
  const main = sources.find((source) => /\/debian\/?$/.test(source.uri));
  return main === undefined ? [] : [`deb ${main.options} ${main.uri} ${suite} main`];
}

function readRelease(): { readonly id: string } {
  const text = existsSync("/etc/os-release") ? readFileSync("/etc/os-release", "utf8") : "";
  return { id: /^ID="?([^"\n]*)"?$/m.exec(text)?.[1] ?? "" };
}

function run(command: string, args: readonly string[], cwd: string): string {
  try {
    return execFileSync(command, args, {
      cwd,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
      timeout: 300_000,
      maxBuffer: 64 * 1024 * 1024,
      env: { ...process.env, LC_ALL: "C" },
    });
  } catch (error) {
    const { stderr = "", message } = error as { stderr?: string; message: string };
    const complaints = stderr.split("\n").filter((line) => /^(E|Err|W):|not found|cannot/i.test(line));
    throw new Error(complaints.slice(0, 3).join("; ") || message.split("\n")[0]);
  }
}

function onPath(program: string): boolean {
  return (process.env.PATH ?? "").split(delimiter).some((folder) => folder !== "" && isExecutable(join(folder, program)));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return !lstatSync(realpathSync(path)).isDirectory();
  } catch {
    return false;
  }
}

function main(names: readonly string[]): void {
  for (const name of names.length === 0 ? SERVER_NAMES : names) {
    if (!(SERVER_NAMES as readonly string[]).includes(name))
      throw new Error(`unknown server ${JSON.stringify(name)}; known: ${SERVER_NAMES.join(", ")}`);
    const found = names.length === 0 ? locateServer(name as ServerName) : undefined;
    process.stdout.write(`${name} ${found ?? fetchServer(name as ServerName)}\n`);
  }
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    main(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exitCode = 1;
  }
}
