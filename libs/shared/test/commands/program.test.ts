import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { describe, it } from "node:test";
import { type Command, type CommandIo, defineCommand } from "../../src/commands/command.ts";
import { argument, durationOption, file, flag, oneOf, text } from "../../src/commands/options.ts";
import { runCommand } from "../../src/commands/program.ts";
import { tableLines, wrapText } from "../../src/commands/terminal-text.ts";
import { terminal } from "../../src/runtime/faults.ts";

async function run(command: Command, words: readonly string[], change: Partial<CommandIo> & { columns?: number } = {}) {
  const { columns, ...io } = change;
  const stdout = Object.assign(new PassThrough(), columns === undefined ? {} : { columns });
  const stderr = new PassThrough();
  const code = await runCommand(command, words, { stdout, stderr, env: {}, signal: new AbortController().signal, ...io });
  const textOf = (stream: PassThrough): string => (stream.read() as Buffer | null)?.toString() ?? "";
  return { code, stdout: textOf(stdout), stderr: textOf(stderr) };
}

const everyOption = defineCommand({
  name: "try options",
  summary: "Print the parsed options",
  args: {
    place: argument({ description: "Where", presence: "required", example: "here" }),
    more: argument({ description: "Further places", presence: "repeated" }),
  },
  options: {
    since: durationOption({ description: "How far back", default: "7d" }),
    fleetFile: file({ description: "The file", variable: "FLEET", example: "a.yaml" }),
    size: oneOf("size", ["small", "large"], { description: "How large" }),
    reason: text("text", { description: "Why", required: true }),
    dryRun: flag("Change nothing"),
  },
  formats: ["table", "json"],
  run: async ({ args, options, output, io }) => {
    io.stdout.write(JSON.stringify({ args, options, output }));
    return 0;
  },
});

describe("a command", () => {
  it("receives its options and arguments parsed, with defaults and variables applied", async () => {
    const given = await run(everyOption, ["a", "b", "c", "--reason", "x", "--dry-run", "-o", "json"], {
      env: { FLEET: "f.yaml" },
    });
    assert.deepEqual(JSON.parse(given.stdout), {
      args: { place: "a", more: ["b", "c"] },
      options: { since: 604_800_000, fleetFile: "f.yaml", reason: "x", dryRun: true },
      output: "json",
    });
    const explicit = await run(everyOption, ["a", "--reason", "x", "--fleet-file", "g.yaml", "--since=90s", "--size", "small"], {
      env: { FLEET: "f.yaml" },
    });
    assert.deepEqual(JSON.parse(explicit.stdout), {
      args: { place: "a", more: [] },
      options: { since: 90_000, fleetFile: "g.yaml", size: "small", reason: "x", dryRun: false },
      output: "table",
    });
    const empty = await run(everyOption, ["a", "--reason", "x"], { env: { FLEET: "" } });
    assert.deepEqual(Object.keys(JSON.parse(empty.stdout).options), ["since", "reason", "dryRun"], "an empty variable is absent");
  });

  it("is not run for a usage error, which is one line, a pointer to help and exit code 2", async () => {
    const wrong: [string[], string][] = [
      [["a"], 'required option "--reason <text>" not specified'],
      [["a", "--reason", ""], "--reason is empty: Why"],
      [["--reason", "x"], 'missing required argument "place"'],
      [["a", "--reason", "x", "--since", "3"], "--since 3: expected a duration with its unit, such as 30s, 15m, 6h or 7d"],
      [["a", "--reason", "x", "--size", "big"], "--size big: expected one of small, large"],
      [["a", "--reason", "x", "-o", "yaml"], "--output yaml: expected one of table, json"],
      [["a", "--reason", "x", "--dry-rum"], 'unknown option "--dry-rum"; did you mean "--dry-run"?'],
    ];
    for (const [words, line] of wrong) {
      const expected = { code: 2, stdout: "", stderr: `${line}\nRun \`aviary try options --help\` for usage.\n` };
      assert.deepEqual(await run(everyOption, words), expected);
    }
  });

  it("documents every option in its help: type, choices, unit, example, variable and default", async () => {
    const { code, stdout } = await run(everyOption, ["--help"], { columns: 120 });
    assert.equal(code, 0);
    for (const line of [
      "Usage: aviary try options [options] <place> [more...]",
      "Print the parsed options.",
      "  place                  Where (for example here)",
      "  --since <duration>     How far back (unit: ms, s, m, h or d; default: 7d)",
      "  --fleet-file <file>    The file (for example a.yaml; environment: FLEET)",
      "  --size <size>          How large (one of small, large)",
      "  --reason <text>        Why (required)",
      "  --dry-run              Change nothing",
      "  -o, --output <format>  The output format (one of table, json; default: table)",
      "Exit codes: 0 success, 1 failure, 2 usage error, 130 interrupted",
    ])
      assert.ok(stdout.includes(`${line}\n`), `${line}\nin\n${stdout}`);
  });

  it("prints help that fits the terminal, without colors unless it is one", async () => {
    for (const columns of [60, 80, 120]) {
      const { stdout } = await run(everyOption, ["--help"], { columns });
      const longest = Math.max(...stdout.split("\n").map((line) => line.length));
      assert.ok(longest <= Math.max(columns, 64), `${longest} characters at ${columns} columns`);
      assert.ok(!stdout.includes("\x1b"), "an escape sequence");
    }
  });
});

/** A command that opens two resources and then does `work`; `closed` names them in the order in which they are closed. */
function opening(work: (signal: AbortSignal) => Promise<number>, runsUntilInterrupted = false) {
  const closed: string[] = [];
  const command = defineCommand({
    name: "open",
    summary: "Open two resources",
    runsUntilInterrupted,
    run: async ({ resources, io }) => {
      resources.add({ [Symbol.dispose]: () => void closed.push("first") });
      resources.add({ [Symbol.asyncDispose]: async () => void closed.push("second") });
      return await work(io.signal);
    },
  });
  return { command, closed };
}

describe("resources of a command are closed newest first", () => {
  const never = (): Promise<number> => new Promise(() => {});

  it("when it succeeds", async () => {
    const { command, closed } = opening(async () => 0);
    assert.equal((await run(command, [])).code, 0);
    assert.deepEqual(closed, ["second", "first"]);
  });

  it("when it fails, with one line and exit code 1, or 2 for a usage error", async () => {
    for (const [code, exitCode] of [
      ["refused", 1],
      ["usage", 2],
    ] as const) {
      const { command, closed } = opening(() => Promise.reject(terminal(code, "no such thing")));
      const result = await run(command, []);
      assert.equal(result.code, exitCode);
      assert.match(result.stderr, /^no such thing\n/);
      assert.deepEqual(closed, ["second", "first"]);
    }
  });

  it("when the user interrupts it, even while it waits for something else", async () => {
    for (const [runsUntilInterrupted, exitCode] of [
      [false, 130],
      [true, 0],
    ] as const) {
      const { command, closed } = opening(never, runsUntilInterrupted);
      const interrupt = new AbortController();
      const running = run(command, [], { signal: interrupt.signal });
      setImmediate(() => interrupt.abort(new Error("interrupted")));
      const { code, stderr } = await running;
      assert.deepEqual([code, stderr, closed], [exitCode, "", ["second", "first"]]);
    }
  });
});

it("a table aligns its columns and ends no line with spaces", () => {
  assert.deepEqual(
    tableLines(
      ["NAME", "STATE"],
      [
        ["mac-a1", "up"],
        ["b", ""],
      ],
    ),
    ["NAME     STATE", "mac-a1   up", "b"],
  );
});

it("text wraps between words, keeps its leading and inner spaces, and indents continuation lines", () => {
  const text = "  code      the quick brown fox jumps";
  assert.deepEqual(wrapText(text, 33, "            "), ["  code      the quick brown fox", "            jumps"]);
  assert.deepEqual(wrapText(text, Number.POSITIVE_INFINITY, "    "), [text]);
  assert.deepEqual(wrapText("", 80, "    "), [""]);
});
