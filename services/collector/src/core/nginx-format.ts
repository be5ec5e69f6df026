/**
 * Parses nginx log lines by their `log_format`, without regular expressions: the format is split at its variables, and each value ends at
 * the literal text that follows its variable. Linear in the length of any line.
 * With nginx's default escaping a quote inside a value is written `\x22`, so the first closing quote is the right one.
 *
 * `$upstream_…` variables are lists when a request was passed on: `502, 200` for the servers tried, ` : ` between groups
 * (https://nginx.org/en/docs/http/ngx_http_upstream_module.html#variables). nginx writes such lists for failed upstreams, so a line with
 * one is never skipped.
 */

/** Required variables: one of each group, with the value it provides. */
const NEEDED: readonly (readonly [string, readonly string[]])[] = [
  ["when the request finished", ["msec", "time_iso8601", "time_local"]],
  ["the status", ["status"]],
  ["the duration", ["request_time"]],
  ["the User-Agent, to separate synthetic requests from users", ["http_user_agent"]],
];

export interface NginxFormat {
  /** The literal text before each variable, and after the last one. */
  readonly literals: readonly string[];
  readonly variables: readonly string[];
}

/** nginx's `combined` format with the request's duration appended. */
export const DEFAULT_NGINX_FORMAT =
  '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $request_time';

/** Splits a format into literals and variables, or returns what is missing. */
export function readNginxFormat(format: string): NginxFormat | { readonly missing: string } {
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
  return { literals, variables };
}

const isList = (variable: string): boolean => variable.startsWith("upstream_");

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
    const end = literal === "" ? line.length : isList(variable) ? endOfList(line, from, literal) : line.indexOf(literal, from);
    if (end === -1) return undefined;
    values.set(variable, line.slice(from, end));
    from = end + literal.length;
  }
  return values;
}

/** Where `literal` follows a list; -1 if it does not. `-` stands for no upstream. */
function endOfList(line: string, from: number, literal: string): number {
  for (let at = from; ; ) {
    const end = line.indexOf(literal, line[at] === "-" ? at + 1 : at);
    if (end === -1) return -1;
    // The literal may start like a separator: a space after the comma, or the comma itself.
    if (line[end - 1] === "," && line[end] === " ") at = end + 1;
    else if (line.startsWith(", ", end)) at = end + 2;
    else if (line.startsWith(" : ", end)) at = end + 3;
    else return end;
  }
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** `21/Nov/2026:05:28:50 +0100` as milliseconds since the epoch; undefined for any other text. */
export function readLocalTime(text: string): number | undefined {
  const match = /^(\d{2})\/([A-Z][a-z]{2})\/(\d{4}):(\d{2}:\d{2}:\d{2}) ([+-]\d{2})(\d{2})$/.exec(text);
  const month = match === null ? -1 : MONTHS.indexOf(match[2] as string);
  if (match === null || month === -1) return undefined;
  const at = Date.parse(`${match[3]}-${String(month + 1).padStart(2, "0")}-${match[1]}T${match[4]}${match[5]}:${match[6]}`);
  return Number.isNaN(at) ? undefined : at;
}
