/** Tracks whether a follower has handled everything that its stream contained when the follower started. */

export interface CaughtUp {
  readonly promise: Promise<void>;
  readonly reached: boolean;
  /** Records that a consumer was created with this number of messages to deliver. */
  expect(messages: number): void;
  /** Records a delivery, and the number of messages after it. */
  delivered(pendingAfter: number): void;
  /** Records that nothing was left to deliver. */
  sawEnd(): void;
  /** Records that everything received was handled; resolves the promise if the end was reached. */
  reach(): void;
  /** Rejects the promise, unless the end was reached before. */
  fail(error: Error): void;
}

export function createCaughtUp(): CaughtUp {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // Not every caller awaits it.
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
