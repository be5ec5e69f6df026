/** Whole processes: a failed start is reported completely, closes what it opened, and exits with code 1. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { describe, it, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { until } from "../../src/testing/until.ts";

const PROGRAM = fileURLToPath(new URL("./service-main-process.ts", import.meta.url));
/** A hang is reported by its phase instead of by the runner's timeout. */
const HANG_MS = 20_000;

function start(test: TestContext, env: Readonly<Record<string, string>>, behavior = "good") {
  const child = spawn(process.execPath, [PROGRAM, behavior], {
    env: { PATH: process.env.PATH ?? "", AVIARY_NATS_URL: "nats://127.0.0.1:1", AVIARY_OPS_PORT: "0", ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const hang = setTimeout(() => child.kill("SIGKILL"), HANG_MS);
  test.after(() => {
    clearTimeout(hang);
    child.kill("SIGKILL");
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  const exited = once(child, "close").then(([code]) => code as number | null);
  const events = () =>
    output
      .split("\n")
      .filter(Boolean)
      .map((line) => (JSON.parse(line) as { event?: string }).event);
  return { child, exited, events, output: () => output };
}

describe("a service process", () => {
  it("starts without its broker, and exits with code 0 on SIGTERM", async (test) => {
    const { child, exited, events, output } = start(test, {});
    await until("it has started", () => events().includes("service.started"), { describe: output });
    child.kill("SIGTERM");
    assert.equal(await exited, 0, output());
    assert.ok(output().includes("the first part is closed"), output());
  });

  it("exits with code 1 when its operations port is taken, and names the variables", async (test) => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    test.after(() => other.close());
    const { port } = other.address() as { port: number };
    const { exited, events, output } = start(test, { AVIARY_OPS_PORT: String(port) });
    assert.equal(await exited, 1, output());
    assert.deepEqual(events(), ["service.start_failed", "service.stopping", "service.stopped"], output());
    assert.match(output(), new RegExp(`127\\.0\\.0\\.1:${port} .*EADDRINUSE.*AVIARY_OPS_PORT`));
  });

  it("exits with code 1 when one of its parts cannot start, and closes those before it", async (test) => {
    const { exited, events, output } = start(test, {}, "bad part");
    assert.equal(await exited, 1, output());
    assert.ok(events().includes("service.start_failed"), output());
    assert.ok(output().includes("the first part is closed"), output());
  });

  it("reports the problems of environment, files and login together", async (test) => {
    const env = {
      AVIARY_OPS_PORT: "many",
      AVIARY_LOG_LEVEL: "loud",
      AVIARY_NATS_URL: "ftp://broker",
      AVIARY_NATS_KEY_FILE: "gone",
    };
    const { exited, output } = start(test, env, "bad files");
    assert.equal(await exited, 1, output());
    for (const expected of [
      "AVIARY_OPS_PORT",
      "AVIARY_LOG_LEVEL",
      "AVIARY_NATS_URL",
      "AVIARY_NATS_CERT_FILE",
      "probe.yaml:3: az",
    ])
      assert.ok(output().includes(expected), `${expected} is missing in ${output()}`);
  });
});
