/**
 * Splits nginx log lines into values by their `log_format`, without regular expressions: the format is split at its variables, and
 * each value ends at the literal text that follows its variable. Linear in the length of any line.
 *
 * A quote inside a value is written `\x22`, or `\"` with `escape=json`, and a control character is escaped too, so the first
 * unescaped quote or tab ends a value that clients write. Such a value followed by any other text has no certain end, so its format
 * is rejected.
 *
 * `$upstream_…` variables are lists when a request was passed on: `502, 200` for the servers tried, ` : ` between groups
 * (https://nginx.org/en/docs/http/ngx_http_upstream_module.html#variables). nginx writes such lists for failed upstreams, so a line
 * with one is never skipped.
 */

/** Required variables, one from each group, with the value that the group provides. */
const NEEDED: readonly (readonly [string, readonly string[]])[] = [
  ["when the request finished", ["msec", "time_iso8601", "time_local"]],
  ["the status", ["status"]],
  ["the duration", ["request_time"]],
  ["the User-Agent, to separate health checks from users", ["http_user_agent"]],
];

export interface NginxFormat {
  /** The literal text before each variable, and after the last one. */
  readonly literals: readonly string[];
  readonly variables: readonly string[];
}

/** nginx's `combined` format with the request's duration appended. */
export const DEFAULT_NGINX_FORMAT =
  '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $request_time';

/** Splits a format, as written in nginx.conf between quotes, into literals and variables, or returns what is missing. */
export function readNginxFormat(text: string): NginxFormat | { readonly missing: string } {
  const format = text.replace(/\\(["'t\\])/g, (_, escaped: string) => (escaped === "t" ? "\t" : escaped));
  const literals: string[] = [];
  const variables: string[] = [];
  let from = 0;
  for (const match of format.matchAll(/\$(?:\{([a-z0-9_]+)\}|([a-z0-9_]+))/g)) {
    literals.push(format.slice(from, match.index));
    variables.push((match[1] ?? match[2]) as string);
    from = match.index + match[0].length;
  }
  literals.push(format.slice(from));
  for (const [what, names] of NEEDED) {
    if (!names.some((name) => variables.includes(name))) return { missing: `${what}: add $${names.join(" or $")}` };
  }
  const touching = literals.slice(1, -1).indexOf("");
  if (touching !== -1) return { missing: `text between $${variables[touching]} and $${variables[touching + 1]}` };
  const ambiguous = variables.findIndex((name, index) => isList(name) && /^(?:, | : )/.test(literals[index + 1] as string));
  if (ambiguous !== -1) return { missing: `text after $${variables[ambiguous]} that cannot be part of its list` };
  const open = variables.findIndex((name, index) => isFreeText(name) && !endsFreeText(literals[index + 1] as string));
  if (open !== -1) return { missing: `quotes around $${variables[open]}: "$${variables[open]}"` };
  return { literals, variables };
}

const isList = (variable: string): boolean => variable.startsWith("upstream_") && !isFreeText(variable);

/** Variables with text from clients or upstreams, in which any printable character may occur. */
const isFreeText = (variable: string): boolean =>
  (/^(?:http_|sent_http_|upstream_http_|upstream_cookie_|cookie_)/.test(variable) && !variable.endsWith("_content_length")) ||
  ["request", "uri", "document_uri", "request_filename", "request_body"].includes(variable);

/** Whether no value can contain the start of this text: a quote, a control character, or the end of the line. */
const endsFreeText = (literal: string): boolean => literal === "" || literal[0] === '"' || (literal[0] as string) < " ";

/** The values of a line by variable name; undefined when the line does not match the format. */
export function readNginxLine(format: NginxFormat, line: string): ReadonlyMap<string, string> | undefined {
  const { literals, variables } = format;
  const first = literals[0] as string;
  if (!line.startsWith(first)) return undefined;
  const values = new Map<string, string>();
  let from = first.length;
  for (let index = 0; index < variables.length; index++) {
    const literal = literals[index + 1] as string;
    const variable = variables[index] as string;
    const end = literal === "" ? line.length : endOf(line, from, variable, literal, literals[index + 2] ?? "");
    if (end === -1) return undefined;
    values.set(variable, line.slice(from, end));
    from = end + literal.length;
  }
  return values;
}

/** The end of the value that starts at `from`; -1 if its literal does not follow. */
function endOf(line: string, from: number, variable: string, literal: string, next: string): number {
  if (isList(variable)) return endOfList(line, from, literal);
  // A user name may contain anything except quotes, so it ends at the last literal before the next quote.
  if (variable === "remote_user" && next.includes('"')) {
    const until = line.indexOf(next, from);
    return until === -1 ? -1 : line.lastIndexOf(literal, until - literal.length);
  }
  for (let end = line.indexOf(literal, from); ; end = line.indexOf(literal, end + 1))
    if (end === -1 || literal[0] !== '"' || !isEscaped(line, from, end)) return end;
}

/** Whether an odd number of backslashes precedes the character, as `escape=json` writes a quote. */
function isEscaped(line: string, from: number, at: number): boolean {
  let backslashes = 0;
  while (at - 1 - backslashes >= from && line[at - 1 - backslashes] === "\\") backslashes += 1;
  return backslashes % 2 === 1;
}

/** The end of a list that `literal` follows; -1 if there is none. `-` stands for no upstream. */
function endOfList(line: string, from: number, literal: string): number {
  for (let at = from; ; ) {
    const end = line.indexOf(literal, line[at] === "-" ? at + 1 : at);
    if (end === -1) return -1;
    // The literal may start with the characters of a separator: a space, or the comma itself.
    if (line[end - 1] === "," && line[end] === " ") at = end + 1;
    else if (line.startsWith(", ", end)) at = end + 2;
    else if (line.startsWith(" : ", end)) at = end + 3;
    else return end;
  }
}
