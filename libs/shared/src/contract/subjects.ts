/**
 * Every subject of the bus: builders, parsers, filters. Subjects are built nowhere else.
 *
 * Tokens are `[a-z0-9-]{1,63}`. A Kubernetes name may contain dots, which separate tokens in NATS; a dot becomes `_`, which
 * Kubernetes names cannot contain, so the mapping is reversible.
 */

/** A fleet, gateway, AZ, lane or kind: one token, as written in files and payloads. */
export const TOKEN_PATTERN = /^[a-z0-9-]{1,63}$/;
/** A Kubernetes namespace or object name (DNS-1123 subdomain, limited to the length of one token). */
export const KUBERNETES_NAME_PATTERN = /^[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?$/;

export const SIGNAL_KINDS = ["http", "health", "queue", "disk", "skills", "doctor", "deps", "process", "log", "rollout"] as const;
export type SignalKind = (typeof SIGNAL_KINDS)[number];

export const CONTROL_VERBS = [
  "announce",
  "weight",
  "phase",
  "gate",
  "end",
  "start",
  "abort",
  "clear",
  "pause",
  "resume",
  "maintenance",
  "configure",
] as const;
export type ControlVerb = (typeof CONTROL_VERBS)[number];

/** A canary as in Kubernetes: `<namespace>/<name>` as a string. */
export interface CanaryRef {
  readonly namespace: string;
  readonly name: string;
}

export interface GatewayRef {
  readonly az: string;
  readonly fleet: string;
  readonly gateway: string;
}

const SIGNAL_KIND_SET: ReadonlySet<string> = new Set(SIGNAL_KINDS);
const CONTROL_VERB_SET: ReadonlySet<string> = new Set(CONTROL_VERBS);

function token(what: string, value: string): string {
  if (!TOKEN_PATTERN.test(value))
    throw new RangeError(`${what} ${JSON.stringify(value)} is not a subject token: use [a-z0-9-]{1,63}`);
  return value;
}

function kubernetesToken(what: string, value: string): string {
  if (!KUBERNETES_NAME_PATTERN.test(value))
    throw new RangeError(`${what} ${JSON.stringify(value)} is not a Kubernetes name of at most 63 characters`);
  return value.replaceAll(".", "_");
}

const fromKubernetesToken = (value: string): string => value.replaceAll("_", ".");

/** `prod/payments-gateway` */
export function canaryKey(canary: CanaryRef): string {
  return `${canary.namespace}/${canary.name}`;
}

/** Parses `prod/payments-gateway`; `undefined` for any other form. */
export function parseCanaryKey(key: string): CanaryRef | undefined {
  const slash = key.indexOf("/");
  if (slash < 1) return undefined;
  const namespace = key.slice(0, slash);
  const name = key.slice(slash + 1);
  if (!KUBERNETES_NAME_PATTERN.test(namespace) || !KUBERNETES_NAME_PATTERN.test(name)) return undefined;
  return { namespace, name };
}

/** `signals.<az>.<fleet>.<gateway>.<kind>` */
export function signalSubject(from: GatewayRef, kind: SignalKind): string {
  return `signals.${token("az", from.az)}.${token("fleet", from.fleet)}.${token("gateway", from.gateway)}.${kind}`;
}

/** `control.<fleet>.<namespace>.<canary>.<verb>` */
export function controlSubject(fleet: string, canary: CanaryRef, verb: ControlVerb): string {
  return `control.${token("fleet", fleet)}.${kubernetesToken("namespace", canary.namespace)}.${kubernetesToken("canary", canary.name)}.${verb}`;
}

/** `verdicts.<namespace>.<canary>` */
export function verdictSubject(canary: CanaryRef): string {
  return `verdicts.${kubernetesToken("namespace", canary.namespace)}.${kubernetesToken("canary", canary.name)}`;
}

/** `incidents.<namespace>.<canary>.<code>`; incidents without a canary use `_._`. */
export function incidentSubject(canary: CanaryRef | undefined, code: string): string {
  const place = canary ? `${kubernetesToken("namespace", canary.namespace)}.${kubernetesToken("canary", canary.name)}` : "_._";
  return `incidents.${place}.${code}`;
}

/** `digests.<namespace>.<canary>` */
export function digestSubject(canary: CanaryRef): string {
  return `digests.${kubernetesToken("namespace", canary.namespace)}.${kubernetesToken("canary", canary.name)}`;
}

/** `receipts.<az>.<fleet>.<gateway>` */
export function receiptSubject(gateway: GatewayRef): string {
  return `receipts.${token("az", gateway.az)}.${token("fleet", gateway.fleet)}.${token("gateway", gateway.gateway)}`;
}

/** `demand.<lane>` */
export function demandSubject(lane: string): string {
  return `demand.${token("lane", lane)}`;
}

/** `dead.<service>` */
export function deadSubject(service: string): string {
  return `dead.${token("service", service)}`;
}

/** Filters for consumers and stream definitions, one per family. */
export const subjectFilters = {
  signals: "signals.>",
  control: "control.>",
  verdicts: "verdicts.>",
  incidents: "incidents.>",
  digests: "digests.>",
  receipts: "receipts.>",
  demand: "demand.>",
  dead: "dead.>",
} as const;

/** `signals.*.<fleet>.>`: the signals of one fleet. */
export function fleetSignalsFilter(fleet: string): string {
  return `signals.*.${token("fleet", fleet)}.>`;
}

/** `control.<fleet>.>`: control messages about the canaries of one fleet. */
export function fleetControlFilter(fleet: string): string {
  return `control.${token("fleet", fleet)}.>`;
}

export type InputSubject =
  | {
      readonly family: "signal";
      readonly az: string;
      readonly fleet: string;
      readonly gateway: string;
      readonly kind: SignalKind;
    }
  | { readonly family: "control"; readonly fleet: string; readonly canary: CanaryRef; readonly verb: ControlVerb };

/** Parses a subject of the stream INPUTS; `undefined` if this version does not define it. */
export function parseInputSubject(subject: string): InputSubject | undefined {
  const parts = subject.split(".");
  if (parts.length !== 5) return undefined;
  const [family, a, b, c, d] = parts as [string, string, string, string, string];
  if (family === "signals") {
    if (!TOKEN_PATTERN.test(a) || !TOKEN_PATTERN.test(b) || !TOKEN_PATTERN.test(c) || !SIGNAL_KIND_SET.has(d)) return undefined;
    return { family: "signal", az: a, fleet: b, gateway: c, kind: d as SignalKind };
  }
  if (family === "control") {
    const canary = parseCanaryKey(`${fromKubernetesToken(b)}/${fromKubernetesToken(c)}`);
    if (!TOKEN_PATTERN.test(a) || canary === undefined || !CONTROL_VERB_SET.has(d)) return undefined;
    return { family: "control", fleet: a, canary, verb: d as ControlVerb };
  }
  return undefined;
}

/** Parses `verdicts.<namespace>.<canary>`. */
export function parseVerdictSubject(subject: string): CanaryRef | undefined {
  const parts = subject.split(".");
  if (parts.length !== 3 || parts[0] !== "verdicts") return undefined;
  return parseCanaryKey(`${fromKubernetesToken(parts[1]!)}/${fromKubernetesToken(parts[2]!)}`);
}

/**
 * `Nats-Msg-Id` of a signal. All five parts are required: the broker deduplicates across subjects, so a shorter id would let one
 * Mac suppress another's signal.
 */
export function signalMessageId(from: GatewayRef, collectorBoot: string, seq: number): string {
  return `${from.az}.${from.fleet}.${from.gateway}.${collectorBoot}.${seq}`;
}
