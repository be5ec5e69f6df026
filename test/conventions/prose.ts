/** Scans Markdown for references: links, headings, inline code and fenced code. */

export interface Claim {
  readonly text: string;
  readonly line: number;
}

export interface Prose {
  readonly path: string;
  /** Targets of links. */
  readonly links: readonly Claim[];
  /** Contents of inline code spans. */
  readonly spans: readonly Claim[];
  /** Lines of fenced code, each with the fence's language. */
  readonly fenced: readonly (Claim & { readonly language: string })[];
  /** Anchors of headings, in GitHub's format. */
  readonly anchors: ReadonlySet<string>;
}

/** Scans one Markdown file. */
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

/** Repository paths in a code fragment: those that start with one of the top-level directories. */
export function pathsIn(code: string, roots: readonly string[]): string[] {
  const pattern = new RegExp(
    `(?<![\\w./@:-])(?:\\./)?(?:${roots.map((root) => root.replace(".", "\\.")).join("|")})/[\\w./*<>{},@-]*`,
    "g",
  );
  return [...code.matchAll(pattern)].map((match) => match[0].replace(/^\.\//, "").replace(/[.,]+$/, ""));
}

/** The part of a path that must exist: everything before its first placeholder. */
export function fixedPart(path: string): string {
  const placeholder = path.search(/[*<{]/);
  return placeholder === -1 ? path : path.slice(0, path.lastIndexOf("/", placeholder) + 1);
}

/** The npm scripts that a code fragment runs. */
export function scriptsIn(code: string): string[] {
  const named = [...code.matchAll(/\bnpm run (?!-)([\w:-]+)/g)].map((match) => match[1] as string);
  const short = [...code.matchAll(/\bnpm (start|test)\b/g)].map((match) => match[1] as string);
  return [...named, ...short];
}

/** The `aviary` commands in a code fragment: the command, and its subcommand if the next word is one. */
export function commandsIn(code: string): { command: string; sub?: string }[] {
  const pattern = /(?:^|[\s$`(]|npm run |npx )aviary(?: --)? ([a-z][a-z-]*)(?: ([a-z][a-z-]*(?:\|[a-z-]+)*)(?![\w./=:-]))?/g;
  return [...code.matchAll(pattern)].map((match) =>
    match[2] === undefined ? { command: match[1] as string } : { command: match[1] as string, sub: match[2] },
  );
}

/** HTTP request paths in a code fragment: alone, or after a host, a variable or a placeholder. */
export function routesIn(code: string): string[] {
  const pattern = /(?<![\w.>/-])(?:https?:\/\/[\w.:@-]+|\$\w+|<address>)?(\/[a-z][\w/.-]*)/g;
  return [...code.matchAll(pattern)].map((match) => match[1] as string);
}
