/**
 * Plausible defects of the product: each is one replacement in one file, and must be detected by the simulation. `caughtBy` is
 * the invariant whose checker is expected to detect it.
 */
export interface Mutant {
  readonly name: string;
  /** Below services/<service>/src; the evaluator's by default. */
  readonly service?: "collector" | "shim";
  readonly file: string;
  /** Must occur exactly once; line breaks are ignored. */
  readonly from: string;
  readonly to: string;
  readonly caughtBy: string;
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: "checkpoint-while-effects-wait",
    file: "io/perform.ts",
    from: "if (checkpointDue && queue.length === 0) {",
    to: "if (checkpointDue) {",
    caughtBy: "3",
  },
  {
    name: "failed-effect-given-up",
    file: "io/perform.ts",
    from: "if (!isRetryable(error) || attempt >= MAX_ATTEMPTS) throw error;",
    to: "return;",
    caughtBy: "3",
  },
  {
    name: "conditions-ignored",
    file: "core/verdict.ts",
    from: "[...changed, ...conditions.holds,",
    to: "[...changed,",
    caughtBy: "4",
  },
  {
    name: "older-release-restored",
    file: "core/gateway.ts",
    from: "const isNewest = observedAtMs >= newestObservedAtMs(gateway);",
    to: "const isNewest = true;",
    caughtBy: "4",
  },
  {
    name: "incomplete-window-taken",
    file: "core/window.ts",
    from: "complete: gaps.length === 0,",
    to: "complete: true,",
    caughtBy: "4",
  },
  {
    name: "coverage-not-required",
    file: "core/window-completeness.ts",
    from: "if (ratio < REQUIRED_COVERAGE) return",
    to: "if (ratio < 0) return",
    caughtBy: "4",
  },
  {
    name: "stale-pack-believed",
    file: "core/gateway-conditions.ts",
    from: 'const kinds: RequiredKind[] = ["health", "disk", "skills"];',
    to: 'const kinds: RequiredKind[] = ["health", "disk"];',
    caughtBy: "4",
  },
  {
    name: "excluded-requests-unnamed",
    file: "core/window.ts",
    from: "if (why !== undefined) {\n    exclude(account, why, body.requests);",
    to: "if (why !== undefined) {",
    caughtBy: "accounts",
  },
  {
    name: "duplicates-counted",
    file: "core/sequence.ts",
    from: 'return fillHole(entry, track, seq) ? "new" : "duplicate";',
    to: 'fillHole(entry, track, seq);\n  return "new";',
    caughtBy: "4",
  },
  {
    name: "late-by-arrival",
    file: "io/deadline-watch.ts",
    from: "state.sequence < lastSequence",
    to: "state.sequence < 0 * lastSequence",
    caughtBy: "5",
  },
  {
    name: "deadlines-by-the-clock-only",
    file: "core/reducer.ts",
    from: "  if (input.storedAtMs > state.nextDeadlineMs) fireDeadlines(state, input.storedAtMs, effects);\n",
    to: "",
    caughtBy: "5",
  },
  {
    name: "verdict-of-the-last-instant-skipped",
    file: "io/perform.ts",
    from: "if (batch.atMs < published.newestAtMs) return true;",
    to: "if (batch.atMs <= published.newestAtMs + 2_000) return true;",
    caughtBy: "5",
  },
  {
    name: "one-input-left-out-after-a-restart",
    file: "leader.ts",
    from: "from: { sequence: state.sequence + 1 },",
    to: "from: { sequence: state.sequence + (state.sequence > 0 ? 2 : 1) },",
    caughtBy: "5",
  },
  {
    name: "latch-forgotten",
    file: "core/verdict.ts",
    from: "if (run?.latch) return {",
    to: "if (run?.latch && run.latch.verdictId === null) return {",
    caughtBy: "9",
  },
  {
    name: "rollback-on-hold",
    service: "shim",
    file: "adapters/flagger-gates.ts",
    from: 'return facts.verdict === "fail" ? allow(',
    to: 'return facts.verdict !== "pass" ? allow(',
    caughtBy: "9",
  },
  {
    name: "confirm-rollout-on-fail",
    service: "shim",
    file: "adapters/flagger-gates.ts",
    from: 'if (facts.verdict === "fail") return deny(',
    to: 'if (facts.verdict === "fail" && gate !== "confirm-rollout") return deny(',
    caughtBy: "9",
  },
  {
    name: "a-dialect-with-a-memory",
    service: "shim",
    file: "adapters/prometheus.ts",
    from: "const { body } = answerFor(found, () => ({ revision: undefined, unseen: false }), context).answer;",
    to: "const { body } = ((origin as { kept?: ReturnType<typeof answerFor> }).kept ??= answerFor(found, () => ({ revision: undefined, unseen: false }), context)).answer;",
    caughtBy: "11",
  },
  {
    name: "stale-verdicts-served",
    service: "shim",
    file: "response/verdict-answer.ts",
    from: "if (!(nowMs <= validUntilMs)) {",
    to: "if (validUntilMs < 0) {",
    caughtBy: "4",
  },
  {
    name: "holes-not-in-the-checkpoint",
    file: "core/checkpoint.ts",
    from: "copy[key] = JSON_PARTS.has(key) ?",
    to: 'copy[key] = key === "holes" ? [] : JSON_PARTS.has(key) ?',
    caughtBy: "12",
  },
  {
    name: "latch-not-in-the-checkpoint",
    file: "core/checkpoint.ts",
    from: "copy[key] = JSON_PARTS.has(key) ?",
    to: 'copy[key] = key === "latch" ? null : JSON_PARTS.has(key) ?',
    caughtBy: "12",
  },
  {
    name: "pending-without-end",
    file: "core/run.ts",
    from: "else if (atMs >= run.sinceMs + config.policy.maxPendingMs) incidents",
    to: "else if (atMs < 0) incidents",
    caughtBy: "13",
  },
  {
    name: "failed-without-end",
    file: "core/run.ts",
    from: "} else if (atMs >= run.sinceMs + config.policy.maxRunMs)\n",
    to: "} else if (atMs < 0)\n",
    caughtBy: "13",
  },
  {
    name: "lease-not-asked",
    file: "leader.ts",
    from: "mayPerform: () => lease.held(),",
    to: "mayPerform: () => true,",
    caughtBy: "lease",
  },
  {
    name: "lease-taken-early",
    file: "service.ts",
    from: "freeAfterMs: LEASE_FREE_MS,",
    to: "freeAfterMs: LEASE_FREE_MS / 2,",
    caughtBy: "lease",
  },
  {
    name: "signals-dropped-when-a-publish-fails",
    service: "collector",
    file: "spool/outbox.ts",
    from: "state.memory = [...rest, ...state.memory];",
    to: "state.memory = rest.length > 0 ? state.memory : [...state.memory];",
    caughtBy: "spool",
  },
];
