import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { LOCAL_MAX_BYTES } from "@aviary/shared/bus/streams.ts";
import type { Command } from "@aviary/shared/commands/command.ts";
import { runCommand } from "@aviary/shared/commands/program.ts";
import { aLaneRecord, aReason, aVerdict, type VerdictChange } from "@aviary/shared/testing/builders.ts";
import { requireServer, startNats } from "@aviary/shared/testing/servers.ts";
import { COMMANDS } from "../src/commands.ts";
import type { CanaryView, Overview } from "../src/shim-client.ts";
import { canaryLines, overviewText, type Style } from "../src/verdict-table.ts";
import { testTerminal } from "./terminal.ts";

const FLEET_FILE = fileURLToPath(new URL("../../examples/fleet/config/aviary.yaml", import.meta.url));
const plain: Style = { paint: (_, text) => text, columns: Number.POSITIVE_INFINITY };

function commandOf(name: string): Command {
  const command = COMMANDS.find((candidate) => candidate.name === name);
  assert.ok(command, name);
  return command;
}

const viewOf = (change: VerdictChange): CanaryView => ({ ...aVerdict(change).body, stale: false, lanes: [] });
const overviewOf = (canary: CanaryView): Overview => ({
  now: canary.at,
  evaluator: { lease_age_ms: 0, bus: "connected", server: "" },
  canaries: [canary],
});

/** The address of an HTTP server that stops after the test. */
async function serve(t: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test("watch prints a canary when its verdict or reason codes change, but not when only figures change", async (t) => {
  const over = aReason("over_5xx", { text: "2 of 50 requests failed." });
  const verdicts = [
    viewOf({ verdict: "hold", reasons: [over], id: "1" }),
    viewOf({ verdict: "hold", reasons: [{ ...over, text: "3 of 60 requests failed." }], id: "2" }),
    viewOf({ verdict: "pass", id: "3" }),
    viewOf({ verdict: "pass", id: "4" }),
  ];
  const stop = new AbortController();
  let requests = 0;
  const url = await serve(t, (_, response) => {
    const canary = verdicts[Math.min(requests++, verdicts.length - 1)]!;
    // The request after the last verdict arrives once that verdict has been printed.
    if (requests > verdicts.length) stop.abort();
    response.end(JSON.stringify(overviewOf(canary)));
  });
  const terminal = testTerminal({ AVIARY_URL: url, AVIARY_TOKEN: "x" }, stop.signal);
  assert.equal(await runCommand(commandOf("watch"), [], terminal.io), 0);
  const lines = terminal.stdout().trimEnd().split("\n");
  assert.equal(lines.length, 3, lines.join("\n"));
  assert.match(lines[0]!, /^HOLD {2}prod\/payments-gateway/);
  assert.match(lines[1]!, /2 of 50/);
  assert.match(lines[2]!, /^PASS/);
});

test("status -o json prints the shim's response as one line", async (t) => {
  const overview = overviewOf(viewOf({ verdict: "pass" }));
  const url = await serve(t, (_, response) => response.end(JSON.stringify(overview)));
  for (const words of [["-o", "json"], ["--output=json"], ["--json"]]) {
    const terminal = testTerminal({ AVIARY_URL: url, AVIARY_TOKEN: "x" });
    assert.equal(await runCommand(commandOf("status"), words, terminal.io), 0, words.join(" "));
    assert.equal(terminal.stdout(), `${JSON.stringify(overview)}\n`);
  }
});

test("-o wide adds ids and scopes to the table", () => {
  const view = viewOf({ verdict: "hold", reasons: [aReason("stale", { az: "az-b", gateway: "mac-b1" })] });
  const table = overviewText(overviewOf(view), plain).split("\n");
  const wide = overviewText(overviewOf(view), plain, true).split("\n");
  assert.deepEqual(
    table.filter((line) => !wide.includes(line)),
    [],
  );
  const added = wide.filter((line) => !table.includes(line)).join("\n");
  assert.ok(added.includes(`verdict ${view.id}`), added);
  assert.match(added, /az-b mac-b1/);
});

test("verdicts fit the terminal; continuation lines of a reason are indented under its text", () => {
  const text = "72 of 1,800 requests failed in the last window (4%, limit 0.5%); the same is expected of a healthy canary once.";
  const view = viewOf({ verdict: "fail", reasons: [aReason("over_5xx", { text })] });
  for (const columns of [80, 120]) {
    const lines = canaryLines(view, { ...plain, columns }, true).slice(1);
    assert.ok(
      lines.every((line) => line.length <= columns),
      lines.join("\n"),
    );
    assert.match(lines[1]!, /^ {23}\S/);
  }
});

test("a rejection by the shim is reported with the shim's message and the token variable to check", async (t) => {
  const url = await serve(t, (_, response) => {
    response.statusCode = 401;
    response.end(JSON.stringify({ status: "error", errorType: "unauthorized", error: "a valid token is needed" }));
  });
  const terminal = testTerminal({ AVIARY_URL: url, AVIARY_TOKEN: "x" });
  assert.equal(await runCommand(commandOf("status"), [], terminal.io), 1);
  assert.equal(terminal.stderr(), `${url}/api/v1/canaries: 401, a valid token is needed; check AVIARY_TOKEN\n`);
});

test("the line of a failed run shows whether the canary slice still runs its release", () => {
  const lineOf = (change: VerdictChange): string => canaryLines(viewOf(change), plain)[0]!;
  assert.match(lineOf({ verdict: "fail" }), /run 0123456789ab failed, weight/);
  assert.match(lineOf({ verdict: "fail", run: { canary_active: false } }), /failed and restored, weight/);
});

test("gateways and depths that were never reported are shown as unknown, not as zero", () => {
  const record = aLaneRecord({ depth: 0, depth_true: 0, replicas: 1, max_replicas: 3 });
  const textOf = (gateway: Partial<CanaryView["gateway"]>): string =>
    canaryLines({ ...viewOf({ verdict: "hold", gateway }), lanes: [{ lane: "build", record }] }, plain).join("\n");
  const unknown = textOf({ expected: 0, fresh: 0, queue_depth: null });
  assert.match(unknown, /gateways unknown/);
  assert.match(unknown, /lane build: 0 of an unknown number of jobs shown to KEDA, 1 replica \(at most 3\)/);
  const known = textOf({ expected: 4, fresh: 0, queue_depth: 0 });
  assert.match(known, /0 of 4 gateways fresh/);
  assert.match(known, /lane build: 0 of 0 jobs shown/);
});

test("streams apply names the stream that does not fit the broker's storage, and the fix", async (t) => {
  if (!requireServer(t, "nats")) return;
  const small = await startNats({ storeLimit: "1GB" });
  t.after(() => small.stop());
  const terminal = testTerminal({ AVIARY_NATS_URL: small.url });
  assert.equal(await runCommand(commandOf("streams apply"), ["--fleet", FLEET_FILE], terminal.io), 1);
  assert.match(
    terminal.stderr(),
    /^applying stream INPUTS \(8 ?GiB\) to the broker: .*storage.*; give JetStream more storage .*`aviary streams apply --local`\n$/,
  );
  assert.equal(await runCommand(commandOf("streams apply"), ["--fleet", FLEET_FILE, "--local"], terminal.io), 0);
  assert.match(terminal.stdout(), /^stream INPUTS: created$/m);
});

test("streams print uses the small byte limits of a local fleet, and rejects replica counts other than 1, 3 and 5", async () => {
  const print = commandOf("streams print");
  const limitOf = async (env: NodeJS.ProcessEnv): Promise<number> => {
    const terminal = testTerminal(env);
    assert.equal(await runCommand(print, ["--fleet", FLEET_FILE], terminal.io), 0);
    const { streams } = JSON.parse(terminal.stdout()) as { streams: { name: string; maxBytes: number }[] };
    return streams.find((stream) => stream.name === "INPUTS")!.maxBytes;
  };
  assert.equal(await limitOf({ AVIARY_LOCAL_STREAMS: "1" }), LOCAL_MAX_BYTES.INPUTS);
  assert.ok((await limitOf({})) > LOCAL_MAX_BYTES.INPUTS);
  const wrong = testTerminal();
  assert.equal(await runCommand(print, ["--fleet", FLEET_FILE, "--replicas", "two"], wrong.io), 2);
  assert.match(wrong.stderr(), /^--replicas two: expected one of 1, 3, 5\n/);
});

test("streams print includes a consumer for each lane that a canary names", async () => {
  const terminal = testTerminal();
  assert.equal(await runCommand(commandOf("streams print"), ["--fleet", FLEET_FILE], terminal.io), 0);
  assert.match(terminal.stdout(), /build-az-a/);
});

test("maintenance of an unknown gateway is rejected, and the error lists the known ones", async () => {
  const terminal = testTerminal();
  const words = ["prod/payments-gateway", "--gateway", "mac-z9", "--reason", "disk swap", "--fleet", FLEET_FILE];
  assert.equal(await runCommand(commandOf("run maintenance"), words, terminal.io), 1);
  assert.match(terminal.stderr(), /unknown gateway mac-z9 in \S+; known gateways of payments: mac-a1, mac-a2, mac-b1/);
});

test("a control message for an unknown canary, or without a reason, is rejected before the broker is contacted", async () => {
  const unknown = testTerminal();
  const words = ["prod/nosuch", "--reason", "x", "--fleet", FLEET_FILE];
  assert.equal(await runCommand(commandOf("run pause"), words, unknown.io), 1);
  assert.match(unknown.stderr(), /unknown canary prod\/nosuch in \S+; known canaries: prod\/payments-gateway/);
  const usageErrors: [string, string[], RegExp][] = [
    ["run pause", ["prod/payments-gateway"], /required option "--reason <text>" not specified/],
    ["run pause", ["prod/payments-gateway", "--reason", " "], /--reason is empty/],
    ["run pause", ["payments", "--reason", "x"], /canary payments: expected <namespace>\/<name>/],
    ["run maintenance", ["prod/payments-gateway"], /--reason is required/],
    [
      "run clear",
      ["prod/payments-gateway", "--reason", "x".repeat(300)],
      /^--reason x{60}…: expected at most 200 characters, found 300\n/,
    ],
    [
      "run start",
      ["prod/payments-gateway", "--revision", "x".repeat(300), "--fleet", FLEET_FILE],
      /start: invalid revision: expected at most 128 characters/,
    ],
    [
      "run start",
      ["prod/payments-gateway", "--revision", "v2", "--skill-hash", "zz", "--fleet", FLEET_FILE],
      /start: invalid skill_hash: expected 64 lower-case hex digits/,
    ],
    ["run maintenance", ["prod/payments-gateway", "--reason", "x", "--for", "2"], /--for 2: expected a duration with its unit/],
  ];
  for (const [name, rest, expected] of usageErrors) {
    const terminal = testTerminal();
    assert.equal(await runCommand(commandOf(name), rest, terminal.io), 2, rest.join(" "));
    assert.match(terminal.stderr(), expected);
  }
});

test("every command documents its arguments and options, with an example, and its help fits 80 columns", async () => {
  for (const command of COMMANDS) {
    const terminal = testTerminal();
    Object.assign(terminal.io.stdout, { columns: 80 });
    assert.equal(await runCommand(command, ["--help"], terminal.io), 0, command.name);
    const help = terminal.stdout();
    assert.deepEqual(
      help.split("\n").filter((line) => line.length > 80),
      [],
      command.name,
    );
    const specs = [...Object.entries(command.args ?? {}), ...Object.entries(command.options ?? {})];
    for (const [name, { description }] of specs) assert.match(description, /^[A-Z].*[^.]$/, `${command.name} ${name}`);
    if (specs.some(([name]) => !["fleet", "directory"].includes(name)))
      assert.ok((command.examples ?? []).length > 0, `${command.name} has no example`);
    assert.match(command.summary, /^[A-Z].*[^.]$/, command.name);
  }
});
