/**
 * A token file that is reloaded when it changes, so that a rotation or a revocation needs no restart.
 *
 *     valid ──the file changes and is valid──▶ valid, with the new entries
 *       ▲ └──the file changes and is invalid, or is removed──▶ stale: keeps the old entries, logs the problem once, reports it to readiness
 *       └──────────────────── the file changes and is valid ─┘
 *
 * The file's mtime, size and inode are polled every 2 s. That bounds how long a token stays accepted after its removal from the file.
 */
import { stat } from "node:fs/promises";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import { ConfigError, type ConfigProblem, loadYamlFile, withHint } from "@aviary/shared/runtime/config.ts";
import type { Logger } from "@aviary/shared/runtime/logger.ts";
import { checkTokenFile } from "./token-rotation.ts";
import {
  type Caller,
  createTokenStore,
  type Refusal,
  type TokenEntry,
  type TokenRequest,
  type TokenUse,
  tokenFileSchema,
} from "./tokens.ts";

export interface TokenFileOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** The longest polling interval of any controller; determines the minimum overlap. */
  readonly intervalMs: number;
  /** How often the file is polled; 2 s by default. */
  readonly pollMs?: number;
}

export interface TokenFile extends Disposable {
  /** Authenticates a request as of now. */
  authenticate(request: TokenRequest): Caller | Refusal;
  uses(): readonly TokenUse[];
  /** The problem of the current file while older entries stay in use; undefined when the file is valid. Fits a readiness check. */
  problem(): string | undefined;
  /** Polls the file now; resolves once a change is applied or rejected. Never rejects. */
  refresh(): Promise<void>;
}

/**
 * Opens a token file and reloads it on changes until disposed.
 * @throws ConfigError when the file cannot be read or is invalid: a service does not start without a valid list of callers.
 */
export async function openTokenFile(options: TokenFileOptions): Promise<TokenFile> {
  const { path, clock, log, intervalMs, pollMs = 2_000 } = options;
  let signature = await signatureOf(path);
  let entries = await readTokenFile(path, intervalMs, clock.now());
  const store = createTokenStore(entries);
  let problem: string | undefined;
  let pending: Promise<void> | undefined;
  let disposed = false;
  let cancelTimer = (): void => {};

  const reload = async (): Promise<void> => {
    const current = await signatureOf(path);
    if (current === signature) return;
    try {
      const next = await readTokenFile(path, intervalMs, writtenAt(current) ?? clock.now(), entries);
      entries = next;
      store.replace(next);
      problem = undefined;
      log.info({ event: "tokens.reloaded", path, entries: next.length }, "token file reloaded");
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

/**
 * Reads and checks a token file.
 * @param before the entries in use: their overlap with the new ones is checked too
 * @throws ConfigError with every problem
 */
export async function readTokenFile(
  path: string,
  intervalMs: number,
  nowMs: number,
  before?: readonly TokenEntry[],
): Promise<readonly TokenEntry[]> {
  const entries = await loadYamlFile(path, tokenFileSchema).catch((error: unknown) => {
    if (!(error instanceof ConfigError)) throw error;
    const expected = "an existing token file: set AVIARY_TOKENS_FILE";
    throw new ConfigError(
      error.problems.map((problem) => withHint(problem, path, expected)),
      error,
    );
  });
  const problems: ConfigProblem[] = checkTokenFile({
    source: path,
    entries,
    nowMs,
    intervalMs,
    ...(before === undefined ? {} : { previousEntries: before }),
  });
  if (problems.length > 0) throw new ConfigError(problems);
  return entries;
}

/** A signature that changes when the file is replaced or rewritten. A mounted secret is replaced behind a symlink, which changes the inode. */
async function signatureOf(path: string): Promise<string> {
  try {
    const { mtimeMs, size, ino } = await stat(path);
    return `${mtimeMs} ${size} ${ino}`;
  } catch {
    return "absent";
  }
}

function writtenAt(signature: string): number | undefined {
  const ms = Number.parseFloat(signature);
  return Number.isFinite(ms) ? ms : undefined;
}
