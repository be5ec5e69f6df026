/** The words this repository avoids, as data. `language.test.ts` applies them to comments, messages, test titles and documents. */

export interface WordRule {
  readonly avoid: RegExp;
  /** What to write instead. */
  readonly write: string;
  /** A text the pattern must match. */
  readonly sample: string;
  /** A rule about number formats, which the input and output data of tests need not follow. */
  readonly numberFormat?: true;
}

const UNITS =
  "second|minute|hour|day|window|run|gateway|probe|message|core|shard|file|fleet|canary|slice|lane|signal|verdict|scrape|retry";

/** British spellings; the repository writes American ones, in prose and in names. */
const BRITISH =
  /\b\w*(?:behaviour|colour|honour|favour|neighbour|[a-z]{3}(?:alis|ronis|ognis|anis|aris|imis|oris)(?:e|es|ed|ing|ation)\b|analys(?:e|ed|ing)\b|cancelled|labelled|modelled|travelling|licence|judgement|fulfils?\b|misspelt\b)/i;

export const WORD_RULES: readonly WordRule[] = [
  {
    avoid: /\b(?:says?|said|saying|tells?|told|telling|hears?|heard)\b/i,
    write: "publishes, returns, reports, states: software does not talk",
    sample: "the shim says 403",
  },
  { avoid: /\banew\b|\bfor ever\b|\bunless told\b/i, write: "again, indefinitely, unless configured", sample: "starts anew" },
  { avoid: /\bmend(?:s|ed|ing)?\b/i, write: "fix, repair", sample: "mend its time service" },
  { avoid: /\bforg(?:ives?|iven|ave|iving)\b/i, write: "clear, tolerate", sample: "forgive a latched fail" },
  {
    avoid: /\b(?:nobody|anybody|somebody|whoever)\b/i,
    write: "the actor: caller, operator, replica, reader",
    sample: "whoever asks",
  },
  { avoid: /\bluck\b/i, write: "p-value, chance", sample: "explained by luck" },
  { avoid: /\bconditions? holds?\b/i, write: "healthy; hold is an outcome", sample: "all conditions hold" },
  { avoid: /\bper cent\b|\d %/, write: "5%", sample: "at most 5 % of them", numberFormat: true },
  {
    avoid: /(?<![\d.:/-])\d{1,3} \d{3}(?![\d.:/-])/,
    write: "a comma between thousands: 10,000",
    sample: "10 000 worlds",
    numberFormat: true,
  },
  {
    avoid: new RegExp(
      `\\b(?:one|once|twice|times|requests?|signals?|messages?|bytes|files?|windows?|entry|page|schema|thread|MB|KB|ms|µs) an? (?:${UNITS})\\b`,
    ),
    write: "per",
    sample: "one file a probe",
  },
  { avoid: BRITISH, write: "American spelling", sample: "the judgement fulfils a misspelt rule" },
  {
    avoid: /\bspeaks? against\b/i,
    write: "the reason or the rule that blocks it",
    sample: "while something speaks against its canary",
  },
  { avoid: /\bstrangers?\b/i, write: "unknown sender, unauthenticated caller", sample: "a message of a stranger" },
  { avoid: /\bexactly if\b/i, write: "if and only if", sample: "0 exactly if growth is blocked" },
  { avoid: /\bfor long\b(?!-)/i, write: "for a long time, or how long", sample: "no message arrived for long" },
  { avoid: /\b(?:one|two|three) of a thousand\b/i, write: "one in a thousand", sample: "in one of a thousand runs" },
  { avoid: /\bthe house\b/i, write: "the repository", sample: "the house rules" },
  {
    avoid: /\b(?:troubles|troubled|misfortunes?|deeds?|befalls?)\b/i,
    write: "fault, injected fault, action",
    sample: "misfortunes that befall a node",
  },
  { avoid: /\bbeliev/i, write: "plausible, current, counts as", sample: "a time that cannot be believed" },
  { avoid: /\bunseen\b/i, write: "unread, undetected", sample: "lines that were destroyed unseen" },
  { avoid: /\b(?:reads?|goes|carries) on\b/i, write: "continues, keeps reading", sample: "reads on in the renamed file" },
  { avoid: /\bany more\b/i, write: "no longer", sample: "cannot be read any more" },
  { avoid: /\bat work\b/i, write: "in progress, running, busy", sample: "jobs at work" },
  {
    avoid: /\b(?:counted|measured|accounted for|kept|judged|stored) apart\b/i,
    write: "separately",
    sample: "traffic that is counted apart",
  },
  { avoid: /(?:'s|s') word\b/i, write: "'s statement, declaration", sample: "an operator's word" },
  { avoid: /\bmade (?:again|by hand)\b/i, write: "created again, handmade", sample: "a record made by hand" },
  { avoid: /\bin peace\b/i, write: "without a fault", sample: "requests in peace" },
  {
    avoid: /\b(?:is|are) no (?:latency|latencies|conflict|secret|job|incident|fault)s?\b/i,
    write: "is not a",
    sample: "a duration that is no latency",
  },
];

/** Words that no identifier contains, because another term has their meaning. */
const AVOIDED_IN_NAMES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    "publish, format, report": ["say", "says", "said", "tell", "tells", "told", "hear", "heard"],
    "reduce, replay": ["fold", "folds", "folded", "refold"],
    "chance, pValue": ["luck", "lucky", "lucks"],
    "tolerate, allow": ["forgive", "forgiven"],
    group: ["camp", "camps"],
    timeout: ["patience"],
    "fault, injectedFault": ["troubled", "misfortune", "misfortunes", "befall"],
    action: ["deed", "deeds"],
    "caller, replica, reader": ["nobody", "somebody", "whoever", "stranger"],
  }).flatMap(([write, words]) => words.map((word) => [word, write] as const)),
);

/** Names of the wire format. */
const WIRE_NAMES = new Set(["luck"]);

/** The identifiers in code that contain an avoided word, with what to write instead. */
export function avoidedNames(code: string): { readonly name: string; readonly write: string }[] {
  const names = new Set(code.match(/[A-Za-z_$][\w$]*/g) ?? []);
  return [...names].flatMap((name) => {
    if (WIRE_NAMES.has(name)) return [];
    const words = name.split(/(?=[A-Z][a-z])|_/).map((word) => word.toLowerCase());
    const write = words
      .map((word) => AVOIDED_IN_NAMES.get(word) ?? (BRITISH.test(word) ? "American spelling" : undefined))
      .find((found) => found !== undefined);
    return write === undefined ? [] : [{ name, write }];
  });
}

/** The rules that `text` breaks; code spans in backticks are ignored. */
export function brokenWordRules(text: string): WordRule[] {
  const prose = text.replace(/`[^`]*`/g, " ");
  return WORD_RULES.filter((rule) => rule.avoid.test(prose));
}

/** Identifiers such as `validUntil` or `openBus()` in the code spans of a text. */
export function identifiersIn(text: string): string[] {
  return [...text.matchAll(/`([a-z][a-z0-9]*(?:[A-Z][A-Za-z0-9]*)+)(?:\(\))?`/g)].map((match) => match[1] as string);
}

/** File names such as `reducer.ts` or `core/run.ts` in a text, without a leading `./`. */
export function fileNamesIn(text: string): string[] {
  return [...text.matchAll(/(?<![\w.*<>/@-])(?:\.\/)?((?:[\w-]+\/)*[\w-]+(?:\.[\w-]+)*\.(?:ts|mjs))\b/g)].map(
    (match) => match[1] as string,
  );
}
