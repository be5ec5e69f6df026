/**
 * The dashboard: plain HTML and a small script over the event stream. No framework and no external resources; all text is set
 * with textContent.
 */
import { isRestoredRun } from "@aviary/shared/contract/run.ts";
import type { Reply } from "../response/reply.ts";

const STYLE = `
:root { color-scheme: light dark; --pass: #1a7f37; --hold: #9a6700; --fail: #cf222e; --line: #8884; --dim: color-mix(in srgb, currentColor 68%, transparent); }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.3rem; margin: 0; } header { display: flex; gap: 1rem; align-items: baseline; margin-bottom: 1rem; }
#link { color: var(--dim); margin-left: auto; }
article { border: 1px solid var(--line); border-left: .5rem solid #888; border-radius: .4rem; padding: .8rem 1rem; margin: 0 0 1rem; }
article.pass { border-left-color: var(--pass); } article.hold { border-left-color: var(--hold); } article.fail { border-left-color: var(--fail); }
article h2 { font-size: 1.1rem; margin: 0 0 .3rem; display: flex; gap: .8rem; align-items: baseline; flex-wrap: wrap; }
.verdict { text-transform: uppercase; font-weight: 700; } .pass .verdict { color: var(--pass); } .hold .verdict { color: var(--hold); } .fail .verdict { color: var(--fail); }
.note { color: var(--dim); font-weight: 400; font-size: .9rem; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: .2rem 1rem; margin: .6rem 0; } dt { color: var(--dim); font-size: .8rem; } dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
ul { margin: .3rem 0; padding-left: 1.2rem; } code { font: .9em ui-monospace, monospace; } .warnings { color: var(--dim); }
main.disconnected { opacity: .45; filter: grayscale(1); }
`;

const SCRIPT = `
const main = document.querySelector("main");
const link = document.getElementById("link");
const cards = new Map();
const el = (tag, cls, text) => { const node = document.createElement(tag); if (cls) node.className = cls; if (text !== undefined) node.textContent = text; return node; };
const number = (value, unit) => value === null || value === undefined ? "–" : (Math.round(value * 100) / 100) + (unit || "");
const percent = (value) => value === null || value === undefined ? "–" : (value * 100).toFixed(2) + "%";
const time = (iso) => iso ? iso.slice(11, 19) + "Z" : "–";
const fact = (list, name, value) => { const box = el("div"); box.append(el("dt", "", name), el("dd", "", value)); list.append(box); };
// The rule of the contract itself: a pure function without references.
${isRestoredRun}
function reasons(items, cls) {
  const list = el("ul", cls);
  for (const item of items) { const line = el("li"); line.append(el("code", "", item.code), " " + item.text); list.append(line); }
  return list;
}
function render(canary) {
  const key = canary.subject.namespace + "/" + canary.subject.name;
  const card = el("article", canary.verdict);
  const head = el("h2");
  head.append(el("span", "", key), el("span", "verdict", canary.verdict));
  if (canary.stale) head.append(el("span", "note", "stale: no fresh verdict"));
  const restored = isRestoredRun(canary.run);
  if (canary.degraded) head.append(el("span", "note", canary.verdict !== "fail" ? "do not widen" : restored ? "restored: a new revision opens a new run" : "roll back"));
  card.append(head);
  if (canary.reasons.length) card.append(reasons(canary.reasons, ""));
  else card.append(el("div", "note", "healthy: no reasons"));
  const facts = el("dl");
  const run = canary.run;
  fact(facts, "run", run ? (restored ? "failed, restored" : run.state) + (run.promotable ? ", promotable" : "") : "none");
  fact(facts, "revision", run ? (run.controller_revision || run.revision) : "–");
  fact(facts, "weight", run ? (run.weight === null ? "unknown" : run.weight + "%") : "–");
  fact(facts, "window", canary.window ? "#" + canary.window.index + ", to " + time(canary.window.end) : "–");
  fact(facts, "requests, canary / stable", canary.canary.requests + " / " + (canary.stable ? canary.stable.requests : "–"));
  fact(facts, "5xx, canary / stable", percent(canary.canary["5xx_rate"]) + " / " + (canary.stable ? percent(canary.stable["5xx_rate"]) : "–"));
  fact(facts, "p99, canary / stable", number(canary.canary.p99_ms, " ms") + " / " + (canary.stable ? number(canary.stable.p99_ms, " ms") : "–"));
  fact(facts, "gateways reporting", canary.gateway.fresh + " of " + canary.gateway.expected);
  fact(facts, "gateway version", canary.gateway.gateway_version || "–");
  fact(facts, "skill pack", canary.gateway.skill_hash ? canary.gateway.skill_hash.slice(0, 12) : "mixed or unknown");
  fact(facts, "threshold / two-key rule", canary.judge.literal + " / " + canary.judge.two_key);
  for (const lane of canary.lanes) fact(facts, "lane " + lane.lane, lane.record ? lane.record.depth + " of " + lane.record.depth_true + " jobs, " + lane.record.replicas + " replicas" : "no record yet");
  fact(facts, "verdict of " + time(canary.at), canary.id);
  card.append(facts);
  if (canary.warnings.length) card.append(el("div", "note", "warnings: the verdict is not affected"), reasons(canary.warnings, "warnings"));
  const previous = cards.get(key);
  if (previous) previous.replaceWith(card); else main.append(card);
  cards.set(key, card);
}
const first = JSON.parse(document.getElementById("first").textContent);
for (const canary of first) render(canary);
if (first.length === 0) main.append(el("p", "note", "No canary is visible to this token."));
const showConnection = (isConnected) => { link.textContent = isConnected ? "live" : "disconnected; reconnecting. The verdicts below may be out of date."; main.classList.toggle("disconnected", !isConnected); };
function subscribe() {
  const source = new EventSource("api/v1/stream");
  source.addEventListener("verdict", (event) => render(JSON.parse(event.data)));
  source.addEventListener("open", () => showConnection(true));
  // A browser reconnects by itself, except after an error response, such as a proxy's: then the stream is closed for good.
  source.addEventListener("error", () => { showConnection(false); if (source.readyState === EventSource.CLOSED) setTimeout(subscribe, 5000); });
}
subscribe();
`;

const HEAD = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Aviary</title>
<link rel="icon" href="data:,"><style>${STYLE}</style></head>
<body><header><h1>Aviary</h1><span class="note">one verdict for every canary</span><span id="link" role="status">connecting…</span></header><main aria-live="polite"></main>
<script type="application/json" id="first">`;
const TAIL = `</script>
<script type="module">${SCRIPT}</script></body></html>
`;

/** Renders the page with the current canaries; updates arrive on the stream. The policy allows only its own script and stream. */
export const dashboardPage = (canaries: readonly object[]): Reply => ({
  status: 200,
  type: "text/html; charset=utf-8",
  // Without `<` no text can close the script element that contains it.
  body: HEAD + JSON.stringify(canaries).replaceAll("<", "\\u003c") + TAIL,
  headers: [
    "Content-Security-Policy",
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options",
    "nosniff",
    "Referrer-Policy",
    "no-referrer",
  ],
});
