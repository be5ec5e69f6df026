/**
 * The repository contains no reference to the machine, tickets or tools it was written with, and no secret.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { filesUnder, readText } from "./tree.ts";

/** This file contains the patterns; the lock file and the license are third-party text. */
const APART = new Set(["test/conventions/self-contained.test.ts", "package-lock.json", "LICENSE"]);
const BINARY = /\.(png|jpe?g|gif|ico|woff2?|gz|tgz|zip|sqlite|db)$/;

const RULES: readonly { readonly what: string; readonly pattern: RegExp; readonly sample: string }[] = [
  { what: "a path of one machine", pattern: /\/work\/|\/opt\/node\d|\/tmp\/bash_jobs|\/root\//, sample: "see /work/main" },
  {
    what: "a home directory",
    pattern: /\/(?:home|Users)\/(?!\$|<|\*|you\b|shared\b|Shared\b|openclaw\b|_?aviary\b|linuxbrew\b|node\b)[a-z]/i,
    sample: "/home/anna/x",
  },
  { what: "a path outside the project", pattern: /(?<![\w./])(?:\.\.\/)+shared\//, sample: "see ../shared/x.md" },
  { what: "a ticket", pattern: /\b(?:issue|ticket|task|PR|pull request)s? ?#\d+/i, sample: "fixes issue #12" },
  {
    what: "a document that is not in the project",
    pattern: /\b(?:design|contracts|requirements|targets|brief)\.md\b/,
    sample: "see design.md",
  },
  {
    what: "an authoring tool",
    pattern: /\b(?:this session|sub-?agents?|as an AI|AI-generated|language model|LLM|Claude|Anthropic|ChatGPT|Copilot|Codex)\b/i,
    sample: "written in this session",
  },
  {
    what: "a package registry's host",
    pattern: /\b(?:registry\.[a-z0-9-]+\.[a-z]+|artifactory|nexus\.|verdaccio|npmmirror)/i,
    sample: "https://registry.example.org/x",
  },
  {
    what: "a private key",
    pattern: /-----BEGIN [A-Z ]*PRIVATE KEY-----\s*\n[A-Za-z0-9+/=]{32}/,
    sample: `-----BEGIN PRIVATE KEY-----\n${"A".repeat(40)}`,
  },
  {
    what: "a token of a known format",
    pattern: /\b(?:gh[pousr]_[A-Za-z0-9]{20,}|npm_[A-Za-z0-9]{30,}|xox[abpr]-[0-9]{6,}-[A-Za-z0-9-]{10,}|AKIA[0-9A-Z]{16})\b/,
    sample: `ghp_${"a".repeat(36)}`,
  },
  {
    what: "a webhook URL",
    pattern: /hooks\.slack\.com\/services\/T[A-Z0-9]{6,}\/B[A-Z0-9]{6,}\/[A-Za-z0-9]{16,}/,
    sample: `hooks.slack.com/services/T0000AAAA/B0000AAAA/${"a".repeat(24)}`,
  },
  {
    what: "an identifier of a requirement that is not in the project",
    pattern: /\((?:[RCSG]\d{1,3})(?:, ?[RCSG]\d{1,3})*[):]|(?<![\w#-])[RC]\d{2,3}(?![\w-])|\bitems \d+ to \d+\b/,
    sample: "closes the gate (R26, R77)",
  },
  { what: "work left for later", pattern: /\b(?:TODO|FIXME|XXX|HACK)\b/, sample: "// TODO later" },
];

const files = filesUnder()
  .filter((path) => !APART.has(path) && !BINARY.test(path) && !path.endsWith(".log"))
  .map((path) => ({ path, lines: readText(path).split("\n"), text: readText(path) }));

describe("the repository", () => {
  for (const { what, pattern, sample } of RULES) {
    it(`does not contain ${what}`, () => {
      assert.match(sample, pattern, "the pattern no longer finds its own sample");
      const found = files.flatMap(({ path, lines, text }) => {
        if (!pattern.test(text)) return [];
        const hits = lines.flatMap((line, index) =>
          pattern.test(line) ? [`${path}:${index + 1}: ${line.trim().slice(0, 160)}`] : [],
        );
        return hits.length > 0 ? hits : [path];
      });
      assert.deepEqual(found, [], `readers of this repository cannot use ${what}`);
    });
  }
});
