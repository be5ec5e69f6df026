/** Operators' commands on a real broker and evaluator. Each reports its effect, or why nothing changed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { runCommand } from "@aviary/shared/commands/program.ts";
import { controlSubject } from "@aviary/shared/contract/subjects.ts";
import { RUN_COMMANDS } from "../../cli/src/commands/run.ts";
import { testTerminal } from "../../cli/test/terminal.ts";
import { CANARY, CANARY_KEY, SHORT_POLICY } from "../fleet/files.ts";
import { verdictWhere } from "../fleet/records.ts";
import { COLLECTORS, startTestFleet, type TestFleet } from "../fleet/test-fleet.ts";

/** No window closes during the test: every verdict is caused by a command. */
const POLICY = { ...SHORT_POLICY, window: "5m", warmup: "1s", holdBudget: "1h" };

function operatorOf({ plan }: TestFleet) {
  return async (verb: string, ...words: string[]) => {
    const command = RUN_COMMANDS.find(({ name }) => name === `run ${verb}`);
    assert.ok(command, verb);
    const terminal = testTerminal({ AVIARY_NATS_URL: `nats://${plan.host}:${plan.natsPort}`, AVIARY_FLEET_FILE: plan.fleetFile });
    const code = await runCommand(command, [CANARY_KEY, ...words], terminal.io);
    return { code, stdout: terminal.stdout(), stderr: terminal.stderr() };
  };
}

test("an operator's command prints the state before and after", async (t) => {
  const fleet = await startTestFleet(t, { parts: ["evaluator", ...COLLECTORS], policy: POLICY });
  if (fleet === undefined) return;
  const run = operatorOf(fleet);
  const started = await run("start", "--revision", "v2");
  assert.equal(started.code, 0, started.stderr);
  const message = await fleet.bus.last("INPUTS", controlSubject("payments", CANARY, "start"));
  assert.match(JSON.parse(Buffer.from(message!.data).toString()).by, /^.+@.+$/, "the log names the operator");
  assert.match(started.stdout, /^start of prod\/payments-gateway \(message \d+\): (no run|no verdict) → (pending|warming)/);
  await verdictWhere(fleet.bus, "the run is judged", ({ body }) => body.run?.state === "active");

  const paused = await run("pause", "--reason", "a look", "-o", "json");
  assert.equal(paused.code, 0, paused.stderr);
  const effect = JSON.parse(paused.stdout);
  assert.equal(effect.changed, true);
  assert.deepEqual(effect.before.held, []);
  assert.deepEqual(effect.after.held, [{ gateway: null, text: "the run is paused: a look" }]);
  assert.equal(effect.unchanged_because, null);
  assert.match((await run("resume", "--reason", "seen")).stdout, /: active, the run is paused: a look → active\n$/);

  assert.match((await run("maintenance", "--gateway", "mac-a2", "--reason", "disk swap")).stdout, /→ active, mac-a2 .*disk swap/);
  assert.equal((await run("maintenance", "--reason", "upgrade")).code, 0);
  const over = await run("maintenance", "--off");
  assert.equal(over.code, 0);
  assert.match(over.stderr, /^still in maintenance: mac-a2; end it for each with --gateway <name> --off\n$/);

  assert.match((await run("abort", "--reason", "wrong image")).stdout, /→ aborted/);
  fleet.assertNoCrashes();
});

test("an operator's command that changes nothing fails with the reason", async (t) => {
  const fleet = await startTestFleet(t, { parts: ["evaluator", ...COLLECTORS], policy: POLICY });
  if (fleet === undefined) return;
  const run = operatorOf(fleet);
  assert.equal((await run("start", "--revision", "v2")).code, 0);
  assert.equal((await run("abort", "--reason", "wrong image")).code, 0);
  const [cleared, aborted] = await Promise.all([run("clear", "--reason", "x"), run("abort", "--reason", "x")]);
  assert.equal(cleared.code, 1);
  assert.match(cleared.stderr, /nothing changed in the verdict: no failure is latched: the run is aborted\n$/);
  assert.equal(aborted.code, 1);
  assert.match(aborted.stderr, /nothing changed in the verdict: no run is open: the last one \(v2\) is aborted\n$/);

  await fleet.stop("evaluator");
  const unheard = await run("start", "--revision", "v3", "-o", "json");
  assert.equal(unheard.code, 1);
  assert.equal(JSON.parse(unheard.stdout).changed, false);
  assert.equal(JSON.parse(unheard.stdout).after, null);
  assert.match(JSON.parse(unheard.stdout).unchanged_because, /^no evaluator is leading/);
});
