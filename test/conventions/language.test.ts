/** Comments, messages, test titles and documents use the words of docs/glossary.md, and refer only to names that exist. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BUCKET_NAMES, STREAM_NAMES } from "@aviary/shared/bus/streams.ts";
import { CALLER_CLASSES } from "@aviary/shared/contract/fleet.ts";
import { RUN_STATES } from "@aviary/shared/contract/run.ts";
import { CONTROL_VERBS, SIGNAL_KINDS } from "@aviary/shared/contract/subjects.ts";
import { OUTCOMES } from "@aviary/shared/contract/verdict.ts";
import { avoidedNames, brokenWordRules, fileNamesIn, identifiersIn, WORD_RULES } from "./language.ts";
import { readSource } from "./source.ts";
import { codeFiles, filesUnder, readText } from "./tree.ts";

interface TextLine {
  readonly place: string;
  readonly text: string;
}

/** Contains the words themselves. */
const EXEMPT = new Set(["test/conventions/language.ts", "test/conventions/language.test.ts"]);

const sources = codeFiles()
  .filter((path) => !EXEMPT.has(path))
  .map((path) => readSource(path, readText(path)));

const comments: TextLine[] = sources.flatMap(({ path, comments }) =>
  comments.map(({ text, line }) => ({ place: `${path}:${line}`, text })),
);
/** Strings with a space are sentences: messages and test titles. Others are keys, paths and data. */
const messages: TextLine[] = sources.flatMap(({ path, strings }) =>
  strings.filter(({ value }) => /[a-z] [a-z]/i.test(value)).map(({ value, line }) => ({ place: `${path}:${line}`, text: value })),
);

/** Lines of Markdown outside fenced code. */
function proseLines(path: string): TextLine[] {
  let fenced = false;
  return readText(path)
    .split("\n")
    .flatMap((text, index) => {
      if (/^\s*```/.test(text)) fenced = !fenced;
      return fenced ? [] : [{ place: `${path}:${index + 1}`, text }];
    });
}
const documents = filesUnder()
  .filter((path) => path.endsWith(".md"))
  .flatMap(proseLines);

/** Files with `#` comments, or XML: people read them like code. */
const configuration = filesUnder()
  .filter(
    (path) => /\.(ya?ml|conf|plist|toml)$|^Dockerfile$|^Caddyfile$|^\.ci\/run$/.test(path) && !path.startsWith("test/cases/"),
  )
  .flatMap((path) =>
    readText(path)
      .split("\n")
      .map((text, index) => ({ place: `${path}:${index + 1}`, text })),
  );

function list(found: readonly string[], why: string): void {
  assert.equal(found.length, 0, `${why}\n  ${found.join("\n  ")}`);
}

describe("language", () => {
  for (const [what, lines] of Object.entries({ comments, messages, documents, configuration })) {
    it(`${what} use standard terms`, () => {
      assert.ok(lines.length > 300, `only ${lines.length} ${what} were found: the scan is broken`);
      list(
        lines.flatMap(({ place, text }) =>
          brokenWordRules(text)
            .filter((rule) => !(rule.numberFormat && what === "messages" && /(^|\/)test\//.test(place)))
            .map((rule) => `${place}: ${text.trim().slice(0, 140)}\n      write: ${rule.write}`),
        ),
        "words to replace:",
      );
    });
  }

  it("identifiers use standard terms", () => {
    list(
      sources.flatMap(({ path, code }) => avoidedNames(code).map(({ name, write }) => `${path}: ${name} (write: ${write})`)),
      "names to replace:",
    );
    assert.deepEqual(
      avoidedNames("const tellAll = () => TOLD_ONCE; luck = ownLuck; telephone; COLOUR[judgementOf]; Promise").map(
        ({ name }) => name,
      ),
      ["tellAll", "TOLD_ONCE", "ownLuck", "COLOUR", "judgementOf"],
    );
  });

  it("identifiers in comments and documents exist in the code", () => {
    const words = new Set(
      sources.flatMap(({ code, strings }) =>
        [code, ...strings.map(({ value }) => value)].flatMap((text) => text.match(/\w+/g) ?? []),
      ),
    );
    list(
      [...comments, ...documents].flatMap(({ place, text }) =>
        identifiersIn(text)
          .filter((name) => !words.has(name) && !EXTERNAL_NAMES.has(name))
          .map((name) => `${place}: ${name}`),
      ),
      "identifiers that no code contains:",
    );
  });

  it("file names in comments exist", () => {
    const paths = filesUnder();
    list(
      comments.flatMap(({ place, text }) =>
        fileNamesIn(text)
          .filter((name) => !paths.some((path) => path === name || path.endsWith(`/${name}`)))
          .map((name) => `${place}: ${name}`),
      ),
      "files that do not exist:",
    );
  });

  it("every rule matches its sample", () => {
    for (const { avoid, sample } of WORD_RULES) assert.match(sample, avoid);
    assert.deepEqual(brokenWordRules("`luck` is the p-value on the wire"), []);
    assert.deepEqual(identifiersIn("`validUntil` and `openBus()`, not `plain`"), ["validUntil", "openBus"]);
    assert.deepEqual(fileNamesIn("see core/run.ts and ./x.test.ts"), ["core/run.ts", "x.test.ts"]);
  });
});

/** Names of Kubernetes, Flagger, KEDA and NATS fields that documents refer to. */
const EXTERNAL_NAMES = new Set([
  "failureLimit",
  "lagThreshold",
  "maxReplicaCount",
  "minReplicaCount",
  "noAsyncTraces",
  "targetValue",
]);

describe("docs/glossary.md", () => {
  const glossary = readText("docs/glossary.md");

  it("contains every name of the wire: kinds, states, outcomes, verbs, classes, streams, buckets", () => {
    const names = [
      ...SIGNAL_KINDS,
      ...RUN_STATES,
      ...OUTCOMES,
      ...CONTROL_VERBS,
      ...CALLER_CLASSES,
      ...STREAM_NAMES,
      ...BUCKET_NAMES,
    ];
    list(
      names.filter(
        (name) => !new RegExp(`\\*\\*[^*|]*\\b${name}\\b[^*|]*\\*\\*|\`${name}\`|\\b[A-Z]+\\b(?<=\\b${name})`).test(glossary),
      ),
      "names that are not defined:",
    );
  });

  it("contains no term that is used nowhere else", () => {
    const terms = [...glossary.matchAll(/\*\*([^*]+)\*\*/g)].map((match) => (match[1] as string).toLowerCase());
    assert.ok(terms.length > 60, `only ${terms.length} terms were found`);
    const elsewhere = [
      ...sources.map(({ text }) => text),
      ...documents.filter(({ place }) => !place.startsWith("docs/glossary.md")).map(({ text }) => text),
    ]
      .join("\n")
      .toLowerCase()
      .replaceAll("_", " ");
    list(
      terms.filter((term) => !elsewhere.includes(term)),
      "terms to use or to remove:",
    );
  });
});
