/** Whether a follower has handled everything that its stream contained when it started. */

export interface CaughtUp {
  readonly promise: Promise<void>;
  readonly reached: boolean;
  /** A consumer was created with this number of messages to deliver. */
  expect(messages: number): void;
  /** A message was delivered with this number of messages after it. */
  delivered(pendingAfter: number): void;
  /** Nothing was left to deliver. */
  sawEnd(): void;
  /** Everything received was handled: resolves if the end was seen. */
  reach(): void;
  /** Rejects, unless it was reached before. */
  fail(error: Error): void;
}

export function createCaughtUp(): CaughtUp {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // Not every reader waits for it.
  promise.catch(() => undefined);
  const state = { expected: 0, sawEnd: false, reached: false };
  return {
    promise,
    get reached() {
      return state.reached;
    },
    expect(messages) {
      state.expected = messages;
      state.sawEnd = messages === 0;
    },
    delivered(pendingAfter) {
      state.expected -= 1;
      state.sawEnd ||= state.expected <= 0 || pendingAfter === 0;
    },
    sawEnd() {
      state.sawEnd = true;
    },
    reach() {
      if (state.reached || !state.sawEnd) return;
      state.reached = true;
      resolve();
    },
    fail(error) {
      if (!state.reached) reject(error);
    },
  };
}
