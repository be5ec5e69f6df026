/** The programs, ports, paths, variables and metrics in docker-compose.yml, Dockerfile and deploy/ exist. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { parse } from "yaml";
import { bundleNames } from "../../scripts/bundle.ts";
import { COLLECTOR_NODE_FLAGS } from "../../scripts/node-flags.ts";
import { collectorEnv } from "../../services/collector/src/config.ts";
import { evaluatorEnv } from "../../services/evaluator/src/config.ts";
import { shimEnv } from "../../services/shim/src/config.ts";
import { codeFiles, exists, filesUnder, isProduct, ROOT, readText } from "./tree.ts";

interface Service {
  readonly image?: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
}
const compose = parse(readText("docker-compose.yml"), { merge: true }) as {
  services: Record<string, Service>;
  volumes: Record<string, unknown>;
};
const services = Object.entries(compose.services);
const ours = services.filter(([, service]) => service.image?.startsWith("aviary:"));
const dockerfile = readText("Dockerfile");
const imageEnv = Object.fromEntries([...dockerfile.matchAll(/\b(AVIARY_[A-Z_]+)=(\S+)/g)].map((match) => [match[1], match[2]]));

/** The environment variables of each program. */
const READS: Readonly<Record<string, readonly string[]>> = {
  collector: Object.keys(collectorEnv.shape),
  evaluator: Object.keys(evaluatorEnv.shape),
  shim: Object.keys(shimEnv.shape),
};

/** Directories that the checkout does not contain: the token file, and the files of a collector next to a gateway. */
const PROVIDED_BY_USERS = new Set(["./tokens", "./collector"]);

/** The bundle that a service runs, after Node's flags. */
function programOf({ command = [] }: Service): string {
  return command.find((word) => word.endsWith(".mjs"))?.replace(/\.mjs$/, "") ?? "";
}

describe("deploy/launchd", () => {
  const plist = readText("deploy/launchd/collector.plist");
  const [before = "", after = ""] = plist.split("<key>EnvironmentVariables</key>");

  it("runs the collector with the flags its footprint is measured with", () => {
    const words = [...before.matchAll(/<string>(.*)<\/string>/g)].map((match) => match[1]);
    assert.deepEqual(words.slice(words.indexOf("/usr/local/bin/node") + 1, -1), COLLECTOR_NODE_FLAGS);
    assert.match(words.at(-1) ?? "", /\/collector\.mjs$/);
  });

  it("sets only variables that the collector reads", () => {
    const names = [...after.slice(0, after.indexOf("</dict>")).matchAll(/<key>(.*?)<\/key>/g)].map((match) => match[1] ?? "");
    assert.ok(names.length > 0);
    assert.deepEqual(
      names.filter((name) => !READS.collector?.includes(name)),
      [],
    );
  });
});

describe("docker-compose.yml", () => {
  it("runs the collector with the flags its footprint is measured with", () => {
    const { command = [] } = compose.services.collector as Service;
    assert.deepEqual(command.slice(0, command.indexOf("collector.mjs")), COLLECTOR_NODE_FLAGS);
  });

  for (const [name, service] of ours) {
    it(`${name} runs a bundled program with variables it reads`, () => {
      const program = programOf(service);
      assert.ok(bundleNames().includes(program), `${name}: scripts/bundle.ts does not build ${program}.mjs`);
      const read = READS[program];
      if (read === undefined) return;
      const unread = Object.keys(service.environment ?? {}).filter((variable) => !read.includes(variable));
      assert.deepEqual(unread, [], `${name} sets what ${program} does not read`);
    });
  }

  it("publishes ports on loopback only, and only ports with a listener", () => {
    for (const [name, service] of services) {
      for (const port of service.ports ?? []) {
        const parts = /^127\.0\.0\.1:(\d+):(\d+)$/.exec(port);
        assert.ok(parts, `${name} publishes ${port}: bind it to 127.0.0.1, because there is no authentication`);
        if (service.image?.startsWith("aviary:")) {
          assert.ok(
            Object.values(service.environment ?? {}).includes(parts[2] as string),
            `${name}: no variable names port ${parts[2]}`,
          );
        }
      }
    }
    const nats = readText("deploy/nats/compose.conf");
    assert.match(nats, /^port: 4222$/m);
    assert.match(nats, /^http: 8222$/m);
  });

  it("mounts files that exist, and declared volumes", () => {
    for (const [name, service] of services) {
      for (const volume of service.volumes ?? []) {
        const source = volume.replace(/^\$\{\w+:-([^}]*)\}/, "$1").split(":")[0] as string;
        if (!source.startsWith(".")) assert.ok(source in compose.volumes, `${name}: volume ${source} is not declared`);
        else if (!PROVIDED_BY_USERS.has(source))
          assert.ok(exists(source.slice(2)), `${name} mounts ${source}, which does not exist`);
      }
    }
  });
});

/** The paths in the checkout that the first stage of the Dockerfile copies, in order. */
const [buildStage = ""] = dockerfile.split(/^FROM (?!.* AS build$)/m);
const copiedBy = (stage: string): string[] =>
  [...stage.matchAll(/^COPY (?!--from)(.*) \S+$/gm)].flatMap((match) => (match[1] as string).split(" "));

/** A directory with the files the build stage copies, and the packages that `npm ci` installs for them. */
function buildContext(test: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "aviary-image-"));
  test.after(() => rmSync(directory, { recursive: true, force: true }));
  const copied = copiedBy(buildStage);
  const isCopied = (file: string): boolean => copied.some((source) => file === source || file.startsWith(`${source}/`));
  for (const file of filesUnder().filter(isCopied)) cpSync(join(ROOT, file), join(directory, file));
  const packages = join(directory, "node_modules");
  mkdirSync(join(packages, "@aviary"), { recursive: true });
  for (const name of readdirSync(join(ROOT, "node_modules"))) {
    if (name !== "@aviary") symlinkSync(join(ROOT, "node_modules", name), join(packages, name));
  }
  // Links to workspaces are relative, so that they point into the copy.
  for (const name of readdirSync(join(ROOT, "node_modules/@aviary")))
    symlinkSync(readlinkSync(join(ROOT, "node_modules/@aviary", name)), join(packages, "@aviary", name));
  return directory;
}

describe("the files of the services in docker-compose.yml", () => {
  it("are inside a directory that the service mounts", () => {
    let checked = 0;
    for (const [name, service] of ours) {
      const mounted = (service.volumes ?? []).map((volume) => volume.replace(/^\$\{[^}]*\}/, "").split(":")[1] as string);
      for (const [variable, path] of Object.entries(service.environment ?? {})) {
        if (!/_FILE$/.test(variable)) continue;
        checked += 1;
        assert.ok(
          mounted.some((directory) => path.startsWith(`${directory}/`)),
          `${name}: ${variable}=${path} is not mounted`,
        );
      }
    }
    assert.ok(checked >= 4, `only ${checked} files were checked`);
  });
});

describe("Dockerfile", () => {
  it("copies everything that its bundles import", (test) => {
    const context = buildContext(test);
    const { status, stderr } = spawnSync(process.execPath, ["scripts/bundle.ts", "--out", "out"], {
      cwd: context,
      encoding: "utf8",
    });
    assert.equal(status, 0, stderr);
    for (const name of bundleNames()) assert.ok(existsSync(join(context, "out", `${name}.mjs`)), `${name} is not in the image`);
  });

  it("copies only paths that exist, and every package manifest", () => {
    const copied = copiedBy(dockerfile);
    for (const source of copied) assert.ok(exists(source), `COPY ${source}: not found`);
    const manifests = filesUnder().filter((path) => /(^|\/)package\.json$/.test(path));
    assert.deepEqual(
      manifests.filter((path) => !copied.includes(path)),
      [],
      "npm ci needs the manifest of every workspace",
    );
  });

  it("sets only variables that the services read", () => {
    const known = new Set(Object.values(READS).flat());
    assert.deepEqual(
      Object.keys(imageEnv).filter((name) => !known.has(name)),
      [],
    );
  });
});

describe("monitoring", () => {
  it("scrapes services of docker-compose.yml on the port of the image", () => {
    const { scrape_configs: jobs } = parse(readText("deploy/prometheus/prometheus.yaml")) as {
      scrape_configs: { static_configs: { targets: string[] }[] }[];
    };
    for (const target of jobs.flatMap((job) => job.static_configs.flatMap((group) => group.targets))) {
      const [host = "", port] = target.split(":");
      assert.ok(host in compose.services, `deploy/prometheus/prometheus.yaml: no service ${host}`);
      assert.equal(port, imageEnv.AVIARY_OPS_PORT, target);
    }
  });

  it("dashboards use only metrics that the code exposes", () => {
    const modules = codeFiles().filter(isProduct).map(readText);
    // A module may prepend the prefix of its service to every name.
    const exposed = (name: string): boolean =>
      modules.some((text) => {
        const prefix = /^aviary_[a-z]+_/.exec(name)?.[0] ?? name;
        return text.includes(name) || (text.includes(`\`${prefix}\${`) && text.includes(`"${name.slice(prefix.length)}"`));
      });
    for (const path of filesUnder("deploy/grafana").filter((file) => file.endsWith(".json"))) {
      const names = new Set(
        [...readText(path).matchAll(/\baviary_[a-z0-9_]+/g)].map(([name]) => name.replace(/_(bucket|sum|count)$/, "")),
      );
      assert.ok(names.size > 0, `${path} uses no metric of Aviary`);
      assert.deepEqual(
        [...names].filter((name) => !exposed(name)),
        [],
        `${path} names metrics that no code exposes`,
      );
    }
  });
});
