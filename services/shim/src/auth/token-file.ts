/**
 * A token file that is read again when it changes, so that a rotation or a revocation needs no restart.
 *
 *     good ──the file changed and is right──▶ good, with the new entries
 *       ▲ └──the file changed and is wrong, or is gone──▶ stale: the old entries stay, the problem is logged once and shown to the readiness check
 *       └──────────────────── the file changed and is right ─┘
 *
 * The file is looked at every 2 s (its time, size and inode), which bounds how long a leaked token stays alive after it was taken out.
 */
import { stat } from "node:fs/promises";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import { ConfigError, type ConfigProblem, loadYamlFile } from "@aviary/shared/runtime/config.ts";
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
  /** The longest interval between two checks of any controller; decides the least overlap. */
  readonly intervalMs: number;
  /** How often the file is looked at; 2 s unless told. */
  readonly pollMs?: number;
}

export interface TokenFile extends Disposable {
  /** Who sends this request, now. */
  authenticate(request: TokenRequest): Caller | Refusal;
  uses(): readonly TokenUse[];
  /** What is wrong with the file as it is now, while older entries are in use; undefined when it is right. Fits a readiness check. */
  problem(): string | undefined;
  /** Looks at the file now; resolves when it has been dealt with. Never rejects. */
  refresh(): Promise<void>;
}

/**
 * Opens a token file and keeps following it until disposed.
 * @throws ConfigError when the file cannot be read or is wrong: a service does not start without knowing its callers.
 */
export async function openTokenFile(options: TokenFileOptions): Promise<TokenFile> {
  const { path, clock, log, intervalMs, pollMs = 2_000 } = options;
  let signature = await signatureOf(path);
  let entries = await readEntries(path, intervalMs, clock.now());
  const store = createTokenStore(entries);
  let problem: string | undefined;
  let busy: Promise<void> | undefined;
  let disposed = false;
  let cancelTimer = (): void => {};

  const look = async (): Promise<void> => {
    const current = await signatureOf(path);
    if (current === signature) return;
    try {
      const next = await readEntries(path, intervalMs, writtenAt(current) ?? clock.now(), entries);
      entries = next;
      store.replace(next);
      problem = undefined;
      log.info({ path, entries: next.length }, "tokens read again");
    } catch (error) {
      problem = error instanceof Error ? error.message : "unreadable";
      log.error({ path, err: error }, "invalid token file; keeping previous tokens");
    }
    signature = current;
  };
  const refresh = (): Promise<void> => {
    busy ??= look()
      .catch((error: unknown) => log.error({ path, err: error }, "the token file cannot be looked at"))
      .finally(() => {
        busy = undefined;
      });
    return busy;
  };
  const arm = (): void => {
    cancelTimer = clock.setTimer(pollMs, () => void refresh().then(() => disposed || arm()), { background: true });
  };
  arm();

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

async function readEntries(
  path: string,
  intervalMs: number,
  now: number,
  before?: readonly TokenEntry[],
): Promise<readonly TokenEntry[]> {
  const entries = await loadYamlFile(path, tokenFileSchema);
  const problems: ConfigProblem[] = checkTokenFile({
    source: path,
    entries,
    now: now,
    intervalMs,
    ...(before === undefined ? {} : { previousEntries: before }),
  });
  if (problems.length > 0) throw new ConfigError(problems);
  return entries;
}

/** Changes whenever the file was replaced or rewritten; a mounted secret is replaced behind a link, which changes the inode. */
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
