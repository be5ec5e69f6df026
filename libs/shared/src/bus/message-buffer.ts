/** The messages a reader has received and not yet handled: delivered in order, one at a time, and kept while it is paused. */

export interface MessageBuffer<Message> {
  readonly isEmpty: boolean;
  readonly isPaused: boolean;
  /** Adds a message, and delivers it unless paused. */
  push(message: Message): void;
  pause(): void;
  /** Delivers what was kept; a handler may pause again. */
  resume(): void;
  /** Drops what was kept, and delivers nothing more. */
  close(): void;
}

/**
 * @param onMessage may call `pause`, `resume` and `close`; neither re-enters it
 * @param onThrow receives what `onMessage` threw; the message counts as delivered
 */
export function createMessageBuffer<Message>(
  onMessage: (message: Message) => void,
  onThrow: (cause: unknown) => void,
): MessageBuffer<Message> {
  const state = { kept: [] as Message[], paused: false, closed: false, draining: false };

  const drain = (): void => {
    if (state.draining) return;
    state.draining = true;
    let next = 0;
    try {
      while (next < state.kept.length && !state.paused && !state.closed) {
        next += 1;
        onMessage(state.kept[next - 1] as Message);
      }
    } catch (cause) {
      onThrow(cause);
    }
    // In the common case of one message, the array is reused.
    if (next >= state.kept.length) state.kept.length = 0;
    else state.kept = state.kept.slice(next);
    state.draining = false;
  };

  return {
    get isEmpty() {
      return state.kept.length === 0;
    },
    get isPaused() {
      return state.paused;
    },
    push(message) {
      if (state.closed) return;
      state.kept.push(message);
      drain();
    },
    pause() {
      state.paused = true;
    },
    resume() {
      state.paused = false;
      drain();
    },
    close() {
      state.closed = true;
      state.kept = [];
    },
  };
}
