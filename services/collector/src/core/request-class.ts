/** The class of a logged request. Every request is in exactly one class. */
import type { LoggedRequest } from "./access-line.ts";

/**
 * `request`: a user's request that was answered. `aborted`: it ended without an answer. `health_check`: sent by a health checker
 * or a collector. `long_lived`: an event stream or an upgraded connection, whose duration is not a latency.
 */
export type RequestClass = "request" | "aborted" | "health_check" | "long_lived";

export interface ClassRules {
  /** User-Agent prefixes of health checkers, in lower case. */
  readonly healthCheckers: readonly string[];
  /** Prefixes of paths whose answers are event streams, for logs without the answer's Content-Type. */
  readonly longLivedPaths: readonly string[];
}

/** User-Agent prefix of collector requests. */
const SYNTHETIC_AGENT_PREFIX = "aviary-synthetic/";
/** User-Agent of every collector request. */
export const SYNTHETIC_AGENT = `${SYNTHETIC_AGENT_PREFIX}1`;

/** User-Agent prefixes of common health checkers: Kubernetes, load balancers, service meshes, and monitoring services. */
export const HEALTH_CHECKERS: readonly string[] = [
  "kube-probe/",
  "ELB-HealthChecker/",
  "GoogleHC/",
  "GoogleStackdriverMonitoring",
  "Amazon-Route53-Health-Check-Service",
  "Azure Traffic Manager Endpoint Monitor",
  "Load Balancer Agent",
  "Edge Health Probe",
  "Envoy/HC",
  "Consul Health Check",
  "Cloudflare-Traffic-Manager/",
  "Blackbox-Exporter/",
  "Blackbox Exporter/",
  "Prometheus/",
  "Uptime-Kuma/",
  "Mozilla/5.0+(compatible; UptimeRobot/",
  "Mozilla/5.0 (compatible; UptimeRobot/",
  "Pingdom.com_bot",
  "StatusCake",
  "Better Uptime Bot",
  "DatadogSynthetics",
  "updown.io",
];

/**
 * Statuses of requests that ended without an answer: 499 (closed by the client: nginx, Caddy, Traefik), 460 (the same, AWS), 408
 * (the client did not send its request in time), and 444 (dropped by the proxy's own configuration, nginx).
 */
const ABORTED_STATUSES: ReadonlySet<number> = new Set([408, 444, 460, 499]);

export function classOf(request: LoggedRequest, rules: ClassRules): RequestClass {
  if (isHealthCheck(request.userAgent, rules)) return "health_check";
  if (isLongLived(request, rules)) return "long_lived";
  if (request.status === 0 || request.end === "client" || ABORTED_STATUSES.has(request.status)) return "aborted";
  return "request";
}

function isHealthCheck(userAgent: string | undefined, { healthCheckers }: ClassRules): boolean {
  if (userAgent === undefined) return false;
  const agent = userAgent.toLowerCase();
  return agent.startsWith(SYNTHETIC_AGENT_PREFIX) || healthCheckers.some((prefix) => agent.startsWith(prefix));
}

/** Media types of answers that do not end by themselves. */
const ENDLESS_TYPE = /^(?:text\/event-stream|multipart\/x-mixed-replace)\s*(?:;|$)/i;

/**
 * A connection that switched protocols: status 101; an upgrade that the log writer gave no status; or CONNECT with 2xx, which also
 * starts a WebSocket over HTTP/2 and HTTP/3 (RFC 8441, RFC 9220). An answer of an endless type counts too. A failed attempt is a
 * request.
 */
function isLongLived({ status, hasUpgrade, method, contentType, path }: LoggedRequest, rules: ClassRules): boolean {
  if (status === 101 || (status === 0 && hasUpgrade)) return true;
  if (status < 200 || status > 299) return false;
  if (method === "CONNECT" || (contentType !== undefined && ENDLESS_TYPE.test(contentType.trim()))) return true;
  return path !== undefined && rules.longLivedPaths.some((prefix) => path.startsWith(prefix));
}

/** Whether an answered request failed: status 500 to 599, or the answer was cut off. */
export function isServerError({ status, end }: Pick<LoggedRequest, "status" | "end">): boolean {
  return (status >= 500 && status <= 599) || end === "cut_off";
}
