/** Reads Markdown for what it claims about the tree: links, headings, inline code and fenced code. */

export interface Claim {
  readonly text: string;
  readonly line: number;
}

export interface Prose {
  readonly path: string;
  /** Targets of `[text](target)`. */
  readonly links: readonly Claim[];
  /** Contents of inline code spans. */
  readonly spans: readonly Claim[];
  /** Lines of fenced code, with the language of the fence. */
  readonly fenced: readonly (Claim & { readonly language: string })[];
  /** Anchors of headings, as GitHub makes them. */
  readonly anchors: ReadonlySet<string>;
}

/** Reads one Markdown text. */
export function readProse(path: string, text: string): Prose {
  const links: Claim[] = [];
  const spans: Claim[] = [];
  const fenced: (Claim & { language: string })[] = [];
  const anchors = new Set<string>();
  let fence: string | undefined;
  text.split("\n").forEach((raw, index) => {
    const line = index + 1;
    const opening = /^\s*```\s*([\w-]*)/.exec(raw);
    if (opening) {
      fence = fence === undefined ? (opening[1] ?? "") : undefined;
      return;
    }
    if (fence !== undefined) {
      fenced.push({ text: raw, line, language: fence });
      return;
    }
    for (const match of raw.matchAll(/`([^`]+)`/g)) spans.push({ text: match[1] as string, line });
    const withoutCode = raw.replace(/`[^`]*`/g, (code) => "x".repeat(code.length));
    for (const match of withoutCode.matchAll(/\]\(([^)\s]+)\)/g)) links.push({ text: match[1] as string, line });
    const heading = /^#+\s+(.*)$/.exec(raw);
    if (heading) anchors.add(slug(heading[1] as string));
  });
  return { path, links, spans, fenced, anchors };
}

/** The anchor of a heading: lower case, punctuation dropped, spaces to dashes. */
export function slug(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, "")
    .trim()
    .replaceAll(" ", "-");
}

/** Paths of this repository that a piece of code names: those that begin with one of its directories. */
export function pathsIn(code: string, places: readonly string[]): string[] {
  const pattern = new RegExp(
    `(?<![\\w./@:-])(?:\\./)?(?:${places.map((place) => place.replace(".", "\\.")).join("|")})/[\\w./*<>{},@-]*`,
    "g",
  );
  return [...code.matchAll(pattern)].map((match) => match[0].replace(/^\.\//, "").replace(/[.,]+$/, ""));
}

/** The part of a path that must exist: all of it, or what stands before its first placeholder. */
export function fixedPart(path: string): string {
  const placeholder = path.search(/[*<{]/);
  return placeholder === -1 ? path : path.slice(0, path.lastIndexOf("/", placeholder) + 1);
}

/** Scripts of package.json that a piece of code runs. */
export function scriptsIn(code: string): string[] {
  const named = [...code.matchAll(/\bnpm run (?!-)([\w:-]+)/g)].map((match) => match[1] as string);
  const short = [...code.matchAll(/\bnpm (start|test)\b/g)].map((match) => match[1] as string);
  return [...named, ...short];
}

/** Verbs of the command line that a piece of code calls: the verb, and the word behind it when it is a plain one. */
export function verbsIn(code: string): { verb: string; sub?: string }[] {
  const pattern = /(?:^|[\s$`(]|npm run |npx )aviary(?: --)? ([a-z][a-z-]*)(?: ([a-z][a-z-]*(?:\|[a-z-]+)*)(?![\w./=:-]))?/g;
  return [...code.matchAll(pattern)].map((match) =>
    match[2] === undefined ? { verb: match[1] as string } : { verb: match[1] as string, sub: match[2] },
  );
}

/** Paths of HTTP requests that a piece of code names: alone, behind a host, or behind a variable or placeholder for one. */
export function routesIn(code: string): string[] {
  const pattern = /(?<![\w.>/-])(?:https?:\/\/[\w.:@-]+|\$\w+|<address>)?(\/[a-z][\w/.-]*)/g;
  return [...code.matchAll(pattern)].map((match) => match[1] as string);
}
