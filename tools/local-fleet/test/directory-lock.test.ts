import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { emptyDirectory, lockDirectory } from "../directory-lock.ts";

const START = fileURLToPath(new URL("../start.ts", import.meta.url));

describe("the lock of a fleet's directory", () => {
  let directory = "";
  beforeEach(() => {
    directory = join(mkdtempSync(join(tmpdir(), "aviary-lock-")), "run");
  });
  afterEach(() => rmSync(join(directory, ".."), { recursive: true, force: true }));

  it("is refused while a running process holds it, and free once released", () => {
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
  it("are explained by --help", () => {
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
