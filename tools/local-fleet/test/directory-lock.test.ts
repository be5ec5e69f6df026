import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { currentDirectory, type FleetPlan, SETTINGS_FILE } from "../../../examples/fleet/src/layout.ts";
import { recordFleet } from "../command-line-settings.ts";
import { emptyDirectory, lockDirectory } from "../directory-lock.ts";
import type { LocalTokens } from "../tokens.ts";

const START = fileURLToPath(new URL("../start.ts", import.meta.url));

describe("the lock of a fleet's directory", () => {
  let directory = "";
  beforeEach(() => {
    directory = join(mkdtempSync(join(tmpdir(), "aviary-lock-")), "run");
  });
  afterEach(() => rmSync(join(directory, ".."), { recursive: true, force: true }));

  it("is rejected while a running process holds it, and is free once released", () => {
    const release = lockDirectory(directory);
    assert.throws(() => lockDirectory(directory), new RegExp(`already running here \\(process ${process.pid}\\)`));
    release();
    lockDirectory(directory)();
  });

  it("is taken over from a process that has exited", () => {
    const { pid } = spawnSync(process.execPath, ["--version"]);
    mkdirSync(directory);
    writeFileSync(join(directory, "starter.pid"), `${pid}\n`);
    lockDirectory(directory)();
  });

  it("is taken for a folder only: a file at its path is reported with the option", () => {
    mkdirSync(join(directory, ".."), { recursive: true });
    writeFileSync(directory, "");
    for (const path of [directory, join(directory, "below")])
      assert.throws(() => lockDirectory(path), /^Error: cannot create the folder \S+: a file exists at this path; name a folder/);
    rmSync(directory);
  });

  it("survives a fresh start, which removes everything else", () => {
    const release = lockDirectory(directory);
    mkdirSync(join(directory, "nats", "jetstream"), { recursive: true });
    writeFileSync(join(directory, "plan.json"), "{}");
    emptyDirectory(directory);
    assert.deepEqual(readdirSync(directory), ["starter.pid"]);
    assert.throws(() => lockDirectory(directory), /already running here/);
    release();
  });

  it("prevents a second start with --fresh from changing the first one's data", () => {
    const release = lockDirectory(directory);
    writeFileSync(join(directory, "plan.json"), "{}");
    const { status, stderr } = spawnSync(process.execPath, [START, "--embedded", "--fresh", "--directory", directory], {
      encoding: "utf8",
      timeout: 60_000,
    });
    assert.equal(status, 1, stderr);
    assert.match(stderr, /already running here/);
    assert.ok(existsSync(join(directory, "plan.json")));
    release();
  });
});

describe("the flags of npm start", () => {
  it("are documented by --help", () => {
    const { status, stdout } = spawnSync(process.execPath, [START, "--help"], { encoding: "utf8", timeout: 60_000 });
    assert.equal(status, 0);
    for (const flag of ["--fresh", "--embedded", "--smoke", "--directory", "--help"]) assert.ok(stdout.includes(flag), flag);
  });

  it("are a closed list: an unknown one is reported with exit code 2", () => {
    const { status, stderr } = spawnSync(process.execPath, [START, "--frsh"], { encoding: "utf8", timeout: 60_000 });
    assert.equal(status, 2);
    assert.match(stderr, /--frsh/);
  });
});

describe("the settings of the command line", () => {
  let project = "";
  beforeEach(() => {
    project = mkdtempSync(join(tmpdir(), "aviary-settings-"));
  });
  afterEach(() => rmSync(project, { recursive: true, force: true }));

  const start = (name: string, natsPort?: number) => {
    const directory = join(project, name);
    const unlock = lockDirectory(directory);
    const plan = { directory, host: "127.0.0.1", shimPort: 1, fleetFile: `${name}.yaml`, natsPort } as unknown as FleetPlan;
    const withdraw = recordFleet(project, plan, { operator: name } as unknown as LocalTokens);
    return {
      stop() {
        withdraw();
        unlock();
      },
    };
  };
  const owner = (): string | undefined => {
    const file = join(project, SETTINGS_FILE);
    return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as { AVIARY_TOKEN: string }).AVIARY_TOKEN : undefined;
  };

  it("are those of the fleet started last and, once it stops, of the previous one if that is still running", () => {
    const first = start("first", 4_222);
    const second = start("second", 4_223);
    assert.equal(owner(), "second");
    assert.equal(currentDirectory(project), join(project, "second"));
    second.stop();
    assert.equal(owner(), "first");
    assert.equal(currentDirectory(project), join(project, "first"));
    first.stop();
    assert.equal(owner(), undefined, "a stopped fleet is not reached");
    assert.equal(currentDirectory(project), join(project, "first"), "its files can be changed for the next start");
  });

  it("are unchanged when an earlier fleet stops before a later one", () => {
    const first = start("first");
    const second = start("second");
    first.stop();
    assert.equal(owner(), "second");
    second.stop();
    assert.equal(owner(), undefined);
  });

  it("state that an embedded fleet has no broker", () => {
    start("embedded").stop();
    const fleet = start("embedded");
    assert.equal(JSON.parse(readFileSync(join(project, SETTINGS_FILE), "utf8")).AVIARY_NATS_URL, null);
    fleet.stop();
  });
});
