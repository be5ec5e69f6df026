/** TCP connection check. */
import { connect } from "node:net";
import type { Clock } from "@aviary/shared/runtime/clock.ts";
import { retryable } from "@aviary/shared/runtime/faults.ts";

/** Opens a TCP connection and closes it at once. @throws Retryable `timeout` or `refused`, or the signal's reason. */
export function tryConnect(host: string, port: number, timeoutMs: number, clock: Clock, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const socket = connect({ host, port });
    const finish = (complete: () => void): void => {
      cancel();
      signal.removeEventListener("abort", onAbort);
      socket.destroy();
      complete();
    };
    const onAbort = (): void => finish(() => reject(signal.reason));
    const cancel = clock.setTimer(timeoutMs, () =>
      finish(() => reject(retryable("timeout", `${host}:${port}: no connection within ${timeoutMs} ms`))),
    );
    signal.addEventListener("abort", onAbort, { once: true });
    socket.once("connect", () => finish(resolve));
    socket.once("error", (error) => finish(() => reject(retryable("refused", `${host}:${port}: ${error.message}`, error))));
  });
}
