/** The resources a service has opened: closed newest first, when it stops or when a later step of its start fails. */

export interface Opened {
  /** Registers a resource and returns it. */
  add<T extends AsyncDisposable | Disposable>(resource: T): T;
}

/**
 * Runs a start that opens one resource after another.
 * @returns a disposable that closes all of them, even if some fail to close
 * @throws the error of the start, after closing what it had opened
 */
export async function openAll(start: (opened: Opened) => Promise<void>): Promise<AsyncDisposable> {
  const resources: (AsyncDisposable | Disposable)[] = [];
  const close = async (): Promise<void> => {
    const errors: unknown[] = [];
    for (const resource of resources.splice(0).reverse()) {
      // One resource that fails to close must not keep the older ones open.
      try {
        if (Symbol.asyncDispose in resource) await resource[Symbol.asyncDispose]();
        else resource[Symbol.dispose]();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length === 1) throw errors[0];
    if (errors.length > 1) throw new AggregateError(errors, `${errors.length} resources failed to close`);
  };
  try {
    await start({
      add(resource) {
        resources.push(resource);
        return resource;
      },
    });
  } catch (error) {
    // The error of the start explains more than those of closing after it.
    await close().catch(() => undefined);
    throw error;
  }
  return { [Symbol.asyncDispose]: close };
}
