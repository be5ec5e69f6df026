/**
 * A token file that is reloaded when it changes, so that a rotation or a revocation needs no restart.
 *
 *     valid ──the file changes and is valid──▶ valid, with the new entries
 *       ▲ └──the file changes and is invalid, or is removed──▶ stale: keeps the old entries, logs the problem once, reports it to readiness
 *       └──────────────────── the file changes and is valid ─┘
 *
 * The file's mtime, size and inode are polled every 2 s. That bounds how long a token stays accepted after its removal from the
 * file.
 */
import { stat } from "node:fs/promises";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import { ConfigError, type ConfigProblem, parseConfig, readYamlFile, type YamlFile } from "@aviary/shared/runtime/config.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import { checkTokenFile, type TokenFileCheck } from "./token-rotation.ts";
import {
  type AuthRejection,
  type Caller,
  createTokenStore,
  type TokenEntry,
  type TokenRequest,
  type TokenUse,
  tokenFileSchema,
} from "./tokens.ts";

/** The valid content of a token file at one moment. */
export interface TokenFileContent {
  readonly path: string;
  readonly entries: readonly TokenEntry[];
  /** Changes when the file is replaced or rewritten. */
  readonly signature: string;
}

export interface TokenFileOptions {
  /** The result of `readTokenFile` at the start. */
  readonly content: TokenFileContent;
  readonly clock: Clock;
  readonly log: Logger;
  /** The longest polling interval of any controller; determines the minimum overlap. */
  readonly intervalMs: number;
  /** How often the file is polled; 2 s by default. */
  readonly pollMs?: number;
}

export interface TokenFile extends Disposable {
  /** Authenticates a request as of now. */
  authenticate(request: TokenRequest): Caller | AuthRejection;
  uses(): readonly TokenUse[];
  /**
   * The problem of the current file while older entries stay in use; undefined if the file is valid. Suitable for a readiness
   * check.
   */
  problem(): string | undefined;
  /** Polls the file now; resolves once a change is applied or rejected. Never rejects. */
  refresh(): Promise<void>;
}

/**
 * Reads a token file.
 * @throws ConfigError with every problem: a service does not start without a valid list of callers.
 */
export async function readTokenFile(path: string, nowMs: number): Promise<TokenFileContent> {
  // Read before the content, so that the first poll detects a change in between.
  const signature = await signatureOf(path);
  return { path, signature, entries: await readEntries(path, { nowMs }) };
}

/** Reloads a token file on changes until disposed. */
export function followTokenFile(options: TokenFileOptions): TokenFile {
  const { clock, log, intervalMs, pollMs = 2_000 } = options;
  const { path } = options.content;
  let { signature, entries } = options.content;
  const store = createTokenStore(entries);
  const warnIfEmpty = (): void => {
    if (entries.length > 0) return;
    log.warn({ event: "tokens.none", path }, "the token file lists no token; every request is rejected until it does");
  };
  warnIfEmpty();
  let problem: string | undefined;
  let pending: Promise<void> | undefined;
  let disposed = false;
  let cancelTimer = (): void => {};

  const reload = async (): Promise<void> => {
    const current = await signatureOf(path);
    if (current === signature) return;
    try {
      const nowMs = writtenAtMs(current) ?? clock.now();
      entries = await readEntries(path, { nowMs, previous: { entries, intervalMs } });
      store.replace(entries);
      problem = undefined;
      log.info({ event: "tokens.reloaded", path, entries: entries.length }, "token file reloaded");
      warnIfEmpty();
    } catch (error) {
      problem = error instanceof Error ? error.message : "unreadable";
      log.error({ event: "tokens.invalid", path, err: error }, "invalid token file; keeping previous tokens");
    }
    signature = current;
  };
  const refresh = (): Promise<void> => {
    pending ??= reload()
      .catch((error: unknown) => log.error({ event: "tokens.check_failed", path, err: error }, "could not check the token file"))
      .finally(() => {
        pending = undefined;
      });
    return pending;
  };
  const schedule = (): void => {
    cancelTimer = clock.setTimer(pollMs, () => void refresh().then(() => disposed || schedule()), { background: true });
  };
  schedule();

  return {
    authenticate: (request) => store.authenticate(request, clock.now()),
    uses: () => store.uses(),
    problem: () => problem,
    refresh,
    [Symbol.dispose]: () => {
      disposed = true;
      cancelTimer();
    },
  };
}

type EntryCheck = Omit<TokenFileCheck, "source" | "entries">;

async function readEntries(path: string, check: EntryCheck): Promise<readonly TokenEntry[]> {
  const file = await readYamlFile(path, { kind: "token file", hint: "set AVIARY_TOKENS_FILE" });
  const entries = parseConfig(file.source, file.value, tokenFileSchema, file.lineOf);
  const problems = checkTokenFile({ source: path, entries, ...check });
  if (problems.length > 0) throw new ConfigError(problems.map((problem) => withLine(problem, file)));
  return entries;
}

function withLine(problem: ConfigProblem, { lineOf }: YamlFile): ConfigProblem {
  const line = lineOf([Number(/^\[(\d+)\]/.exec(problem.path)?.[1])]);
  return line === undefined ? problem : { ...problem, line };
}

/**
 * A signature that changes when the file is replaced or rewritten. A mounted secret is replaced behind a symlink, which changes
 * the inode.
 */
async function signatureOf(path: string): Promise<string> {
  try {
    const { mtimeMs, size, ino } = await stat(path);
    return `${mtimeMs} ${size} ${ino}`;
  } catch {
    return "absent";
  }
}

function writtenAtMs(signature: string): number | undefined {
  const ms = Number.parseFloat(signature);
  return Number.isFinite(ms) ? ms : undefined;
}
