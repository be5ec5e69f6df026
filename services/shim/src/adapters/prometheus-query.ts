/**
 * Parses the two queries of the Prometheus dialect: `vector(1)`, Flagger's availability check, and
 * `aviary_verdict{namespace="prod",canary="payments-gateway"}`. Other PromQL is rejected. Pure.
 */
export type Query =
  | { readonly kind: "one" }
  | { readonly kind: "verdict"; readonly namespace: string | undefined; readonly canary: string }
  | { readonly kind: "bad"; readonly text: string };

export const VERDICT_SERIES = "aviary_verdict";
const MAX_QUERY = 1_024;
const EXPECTED = `expected ${VERDICT_SERIES}{namespace="…",canary="…"} or vector(1)`;

/** Parses a query; whitespace between its parts is ignored. */
export function readQuery(source: string): Query {
  const bad = (text: string): Query => ({ kind: "bad", text: `${text}: ${EXPECTED}` });
  const query = source.trim();
  if (query === "") return bad("no query");
  if (query.length > MAX_QUERY) return bad("the query is too long");
  if (/^vector\s*\(\s*1\s*\)$/.test(query)) return { kind: "one" };
  const open = query.indexOf("{");
  if (open < 0 || !query.endsWith("}") || query.slice(0, open).trim() !== VERDICT_SERIES) {
    return bad(`cannot parse ${JSON.stringify(query.slice(0, 60))}`);
  }
  const labels: { namespace?: string; canary?: string } = {};
  for (const part of query.slice(open + 1, -1).split(",")) {
    const matcher = part.trim();
    if (matcher === "") continue;
    const match = /^(\w{1,32})\s*=\s*(?:"([a-z0-9./-]{1,128})"|'([a-z0-9./-]{1,128})')$/.exec(matcher);
    const name = match?.[1];
    if (match === null || (name !== "namespace" && name !== "canary")) {
      return bad(`cannot parse the label ${JSON.stringify(matcher.slice(0, 60))}`);
    }
    if (labels[name] !== undefined) return bad(`the label ${name} is given twice`);
    labels[name] = match[2] ?? match[3] ?? "";
  }
  if (labels.canary === undefined) return bad("the label canary is missing");
  return { kind: "verdict", namespace: labels.namespace, canary: labels.canary };
}

/** Whether Prometheus would accept a time, in Unix seconds or RFC 3339. The value is ignored: the answer is as of now. */
export function isTime(text: string): boolean {
  if (/^\d{1,12}(?:\.\d{1,9})?(?:e[+]?\d{1,2})?$/.test(text)) return true;
  return (
    /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})$/.test(text) && Number.isFinite(Date.parse(text))
  );
}

/**
 * One series with one sample. The sample is a string, because a number makes KEDA's operator exit; a `value` shorter than two
 * entries makes Flagger exit.
 * @param seconds Unix time of the sample
 * @param warnings shown by Argo Rollouts in the measurement's metadata
 */
export function vectorJson(
  metric: Readonly<Record<string, string>>,
  sample: "1" | "0.5" | "0",
  seconds: number,
  warnings: readonly string[],
): string {
  const data = `{"resultType":"vector","result":[{"metric":${JSON.stringify(metric)},"value":[${seconds},"${sample}"]}]}`;
  const warningsJson = warnings.length === 0 ? "" : `,"warnings":${JSON.stringify(warnings)}`;
  return `{"status":"success","data":${data}${warningsJson}}`;
}
