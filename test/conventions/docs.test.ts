/**
 * Everything that prose refers to exists: paths, links, scripts and commands in Markdown, and commands recommended by messages in
 * the code.
 */
import assert from "node:assert/strict";
import { dirname, join } from "node:path/posix";
import { describe, it } from "node:test";
import { COMMANDS } from "../../cli/src/commands.ts";
import { commandsIn, fixedPart, pathsIn, readProse, routesIn, scriptsIn } from "./prose.ts";
import { readSource } from "./source.ts";
import { codeFiles, exists, filesUnder, isProduct, readText } from "./tree.ts";

const all = filesUnder();
const roots = [...new Set(all.filter((path) => path.includes("/")).map((path) => path.slice(0, path.indexOf("/"))))];
const baseNames = new Set(all.map((path) => path.slice(path.lastIndexOf("/") + 1)));
const prose = all.filter((path) => path.endsWith(".md")).map((path) => readProse(path, readText(path)));
const scripts = Object.keys((JSON.parse(readText("package.json")) as { scripts: Record<string, string> }).scripts);

/** Files of a user's deployment, which are not in the repository. */
const USERS_FILES = new Set(["aviary.yaml", "tokens.yaml", "collector.yaml", "payments.yaml", "default.yaml"]);
/** Fence languages that contain commands; the others contain data or output. */
const SHELL = new Set(["sh", "bash", "console", "shell", ""]);

const names = COMMANDS.map((command) => command.name);

function lost(list: readonly string[], why: string): void {
  assert.equal(list.length, 0, `${why}\n  ${list.join("\n  ")}`);
}

/** Calls of `aviary` in a code fragment that name no command; `aviary run` alone refers to its group. */
function unknownVerbs(place: string, code: string): string[] {
  return commandsIn(code).flatMap(({ command, sub }) => {
    if (names.includes(command)) return [];
    const family = names.some((name) => name.startsWith(`${command} `));
    if (family && sub === undefined) return [];
    const words = (sub ?? "").split("|");
    return words
      .filter((word) => !names.includes(`${command} ${word}`))
      .map((word) => `${place}: aviary ${command} ${word}`.trimEnd());
  });
}

describe("documentation", () => {
  it("links resolve to files and headings", () => {
    const anchorsOf = new Map(prose.map((file) => [file.path, file.anchors]));
    lost(
      prose.flatMap((file) =>
        file.links
          .filter(({ text }) => !/^[a-z]+:/.test(text))
          .filter(({ text }) => {
            const [target = "", anchor] = text.split("#");
            const path = target === "" ? file.path : join(dirname(file.path), target);
            return !exists(path) || (anchor !== undefined && anchorsOf.get(path)?.has(anchor) === false);
          })
          .map(({ text, line }) => `${file.path}:${line}: ${text}`),
      ),
      "links to files or headings that do not exist:",
    );
  });

  it("paths in code spans exist", () => {
    lost(
      prose.flatMap((file) =>
        [...file.spans, ...file.fenced.filter((code) => SHELL.has(code.language))].flatMap(({ text, line }) =>
          pathsIn(text, roots)
            .filter((path) => !exists(fixedPart(path)) && !exists(join(dirname(file.path), fixedPart(path))))
            .map((path) => `${file.path}:${line}: ${path}`),
        ),
      ),
      "paths that do not exist:",
    );
  });

  it("file names in code spans exist", () => {
    lost(
      prose.flatMap((file) =>
        file.spans
          .filter(({ text }) => /^[\w.-]+\.(ts|mjs|md|json|ya?ml)$/.test(text))
          .filter(({ text }) => !baseNames.has(text) && !USERS_FILES.has(text))
          .map(({ text, line }) => `${file.path}:${line}: ${text}`),
      ),
      "files that do not exist:",
    );
  });

  it("short paths are suffixes of existing paths", () => {
    lost(
      prose.flatMap((file) =>
        file.spans
          .filter(({ text }) => /^[\w.-]+(\/[\w.-]+)+\.(ts|mjs|md|json|ya?ml)$/.test(text))
          .filter(({ text }) => !all.some((path) => path === text || path.endsWith(`/${text}`)))
          .map(({ text, line }) => `${file.path}:${line}: ${text}`),
      ),
      "short paths that match no file:",
    );
  });

  it("HTTP routes are described in docs/openapi.json", () => {
    const { paths } = JSON.parse(readText("docs/openapi.json")) as { paths: Record<string, unknown> };
    const families = [...new Set(Object.keys(paths).map((path) => `/${path.split("/")[1]}/`))].filter(
      (family) => family.length > 2,
    );
    const known = Object.keys(paths).map((path) => new RegExp(`^${path.replace(/\{\w+\}/g, "[^/]+")}$`));
    lost(
      prose.flatMap((file) =>
        [...file.spans, ...file.fenced].flatMap(({ text, line }) =>
          routesIn(text)
            .filter((path) => families.some((family) => path.startsWith(family)) || path.startsWith("/flux/"))
            // `/flagger` alone is the base address of a Prometheus, not a route.
            .filter((path) => !known.some((pattern) => pattern.test(path)))
            .map((path) => `${file.path}:${line}: ${path}`),
        ),
      ),
      "routes that docs/openapi.json does not describe:",
    );
  });

  it("npm scripts are defined in package.json", () => {
    lost(
      prose.flatMap((file) =>
        [...file.spans, ...file.fenced].flatMap(({ text, line }) =>
          scriptsIn(text)
            .filter((script) => !scripts.includes(script))
            .map((script) => `${file.path}:${line}: npm run ${script}`),
        ),
      ),
      "scripts that package.json does not have:",
    );
  });

  it("commands of the command line exist", () => {
    lost(
      prose.flatMap((file) =>
        [...file.spans, ...file.fenced].flatMap(({ text, line }) => unknownVerbs(`${file.path}:${line}`, text)),
      ),
      "commands that cli/src/commands.ts does not list:",
    );
  });

  it("commands in configuration and CI files exist", () => {
    const others = all.filter((path) => /\.(ya?ml|conf|sh|plist)$|(^|\/)Dockerfile$|^\.ci\//.test(path));
    lost(
      others.flatMap((path) =>
        readText(path)
          .split("\n")
          .flatMap((text, index) =>
            /npm run aviary|`aviary |\baviary\.mjs"?,? "?[a-z]/.test(text) ? unknownVerbs(`${path}:${index + 1}`, text) : [],
          ),
      ),
      "files that recommend a command that does not exist:",
    );
  });

  it("commands recommended by messages exist", () => {
    lost(
      codeFiles()
        .filter((path) => isProduct(path) || path.startsWith("scripts/") || path.startsWith("tools/"))
        .flatMap((path) =>
          readSource(path, readText(path)).strings.flatMap(({ value, line }) =>
            [...value.matchAll(/`(aviary [^`]*)`/g)].flatMap((match) => unknownVerbs(`${path}:${line}`, match[1] as string)),
          ),
        ),
      "messages that recommend a command that does not exist:",
    );
  });

  it("every command has a unique name", () => {
    const names = COMMANDS.map(({ name }) => name);
    assert.equal(new Set(names).size, names.length, "two commands of cli/src/commands.ts have the same name");
  });

  it("every decision is listed, and every document is linked", () => {
    const index = readText("docs/decisions/README.md");
    lost(
      filesUnder("docs/decisions").filter(
        (path) => /\/\d{4}-/.test(path) && !index.includes(path.slice(path.lastIndexOf("/") + 1)),
      ),
      "decisions that docs/decisions/README.md does not list:",
    );
    const linked = new Set(
      prose.flatMap((file) => file.links.map(({ text }) => join(dirname(file.path), text.split("#")[0] as string))),
    );
    lost(
      filesUnder("docs").filter((path) => path.endsWith(".md") && !linked.has(path) && !linked.has(dirname(path))),
      "documents without an incoming link:",
    );
  });
});

describe("the documentation checker", () => {
  it("finds links, paths, scripts and commands", () => {
    const file = readProse(
      "docs/x.md",
      "# A title: two\n[a](b.md#c) `[no](link)` `libs/shared/src/gone.ts`\n```sh\nnpm run aviary -- streams apply\naviary run start prod/x\nnpm test\n```\n",
    );
    assert.deepEqual(file.links, [{ text: "b.md#c", line: 2 }]);
    assert.deepEqual([...file.anchors], ["a-title-two"]);
    assert.deepEqual(
      file.spans.flatMap(({ text }) => pathsIn(text, ["libs", ".ci"])),
      ["libs/shared/src/gone.ts"],
    );
    assert.deepEqual(
      file.fenced.flatMap(({ text }) => scriptsIn(text)),
      ["aviary", "test"],
    );
    assert.deepEqual(
      file.fenced.flatMap(({ text }) => commandsIn(text)),
      [
        { command: "streams", sub: "apply" },
        { command: "run", sub: "start" },
      ],
    );
  });

  it("finds routes after hosts and variables, and none inside paths", () => {
    assert.deepEqual(routesIn("https://a.example/keda/metrics?lane=x and /flagger/events"), ["/keda/metrics", "/flagger/events"]);
    assert.deepEqual(routesIn('curl "$AVIARY_URL/flagger/metrics"'), ["/flagger/metrics"]);
    assert.deepEqual(routesIn("https://flagger:TOKEN@a.example/flagger/gate/gone"), ["/flagger/gate/gone"]);
    assert.deepEqual(routesIn("docs/decisions"), []);
  });

  it("checks the part of a path before its first placeholder", () => {
    assert.equal(fixedPart("services/*/src/commands"), "services/");
    assert.equal(fixedPart("docs/schemas/<name>.json"), "docs/schemas/");
    assert.equal(fixedPart("docs/glossary.md"), "docs/glossary.md");
  });
});
