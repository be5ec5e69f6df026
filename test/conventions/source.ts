/**
 * Scans a module for the convention tests: its imports, strings and comments, and its code with strings and comments blanked.
 * This is a scanner, not a parser: it recognizes comments, strings, templates and regular expressions, the only constructs that
 * can hide or imitate code.
 */

export interface Import {
  readonly specifier: string;
  /** True for `import type` and `export type … from`, which are erased before execution. */
  readonly typeOnly: boolean;
  readonly line: number;
}

export interface StringLiteral {
  readonly value: string;
  readonly line: number;
}

export interface Comment {
  readonly text: string;
  readonly line: number;
}

export interface Source {
  readonly path: string;
  readonly text: string;
  /** The text with comments, string contents and regular expressions blanked; offsets are preserved. */
  readonly code: string;
  /** Strings, and the constant parts of templates. */
  readonly strings: readonly StringLiteral[];
  /** Comments without their delimiters, one entry per line. */
  readonly comments: readonly Comment[];
  readonly imports: readonly Import[];
}

/** The line of an offset, starting at 1. */
export function lineAt(text: string, position: number): number {
  let line = 1;
  for (let index = text.indexOf("\n"); index !== -1 && index < position; index = text.indexOf("\n", index + 1)) line += 1;
  return line;
}

/** A slash after one of these starts a regular expression; any other slash is a division. */
const BEFORE_REGEX = /(?:^|[=(,:;!&|?{}[+\-*%<>~^]|\breturn|\btypeof|\bcase|\bof|\bin|\bawait)\s*$/;

/** Scans one module. */
export function readSource(path: string, text: string): Source {
  const code = [...text.split("")];
  const strings: { value: string; line: number; start: number }[] = [];
  const comments: Comment[] = [];
  const keepComment = (from: number, to: number): void => {
    const first = lineAt(text, from);
    text
      .slice(from, to)
      .split("\n")
      .forEach((line, index) => {
        const trimmed = line.replace(/^\s*(?:\/\/|\/?\*+\/?)?\s?/, "").replace(/\s*\*\/$/, "");
        comments.push({ text: trimmed, line: first + index });
      });
  };
  const blank = (from: number, to: number): void => {
    for (let at = from; at < to; at += 1) if (code[at] !== "\n") code[at] = " ";
  };
  const keep = (from: number, to: number): void => {
    strings.push({ value: text.slice(from, to), line: lineAt(text, from), start: from });
    blank(from, to);
  };
  /** The brace depth inside each open `${`. */
  const templates: number[] = [];
  let at = 0;

  const readTemplate = (from: number): number => {
    let end = from;
    while (end < text.length && text[end] !== "`") {
      if (text[end] === "\\") end += 1;
      else if (text.startsWith("${", end)) {
        keep(from, end);
        templates.push(0);
        return end + 2;
      }
      end += 1;
    }
    keep(from, end);
    return end + 1;
  };

  while (at < text.length) {
    const char = text[at] as string;
    if (text.startsWith("//", at) || (at === 0 && text.startsWith("#!"))) {
      const newline = text.indexOf("\n", at);
      const end = newline === -1 ? text.length : newline;
      keepComment(at, end);
      blank(at, end);
      at = end;
    } else if (text.startsWith("/*", at)) {
      const close = text.indexOf("*/", at + 2);
      const end = close === -1 ? text.length : close + 2;
      keepComment(at, end);
      blank(at, end);
      at = end;
    } else if (char === '"' || char === "'") {
      let end = at + 1;
      while (end < text.length && text[end] !== char && text[end] !== "\n") end += text[end] === "\\" ? 2 : 1;
      keep(at + 1, end);
      at = end + 1;
    } else if (char === "`") {
      at = readTemplate(at + 1);
    } else if (char === "/" && BEFORE_REGEX.test(code.slice(Math.max(0, at - 40), at).join(""))) {
      let end = at + 1;
      let inClass = false;
      while (end < text.length && text[end] !== "\n" && (inClass || text[end] !== "/")) {
        if (text[end] === "\\") end += 1;
        else if (text[end] === "[") inClass = true;
        else if (text[end] === "]") inClass = false;
        end += 1;
      }
      blank(at + 1, end);
      at = end + 1;
    } else {
      const depth = templates.at(-1);
      if (depth !== undefined && char === "{") templates[templates.length - 1] = depth + 1;
      if (depth !== undefined && char === "}") {
        if (depth === 0) {
          templates.pop();
          at = readTemplate(at + 1);
          continue;
        }
        templates[templates.length - 1] = depth - 1;
      }
      at += 1;
    }
  }

  const codeText = code.join("");
  const byStart = new Map(strings.map((string) => [string.start, string.value]));
  const imports: Import[] = [];
  const patterns = [
    /\b(?:import|export)\s+(type\s+)?(?:[\w$*{][\w$\s,{}*]*?)\bfrom\s*["']/g,
    /\bimport\s*(?<none>)["']/g,
    /\bimport\s*(?<none>)\(\s*["'`]/g,
  ];
  for (const pattern of patterns) {
    for (const match of codeText.matchAll(pattern)) {
      const specifier = byStart.get(match.index + match[0].length);
      if (specifier !== undefined) {
        imports.push({ specifier, typeOnly: Boolean(match[1]), line: lineAt(text, match.index) });
      }
    }
  }
  return { path, text, code: codeText, strings, comments, imports };
}

/** All matches of `pattern` (global) in the code, each with its line number and line. */
export function findInCode(source: Source, pattern: RegExp): { match: string; line: number; text: string }[] {
  const lines = source.text.split("\n");
  return [...source.code.matchAll(pattern)].map((match) => {
    const line = lineAt(source.text, match.index);
    return { match: match[0], line, text: (lines[line - 1] ?? "").trim() };
  });
}
