/** The resources a service has opened: closed newest first, when it stops or when a later step of its start fails. */

export interface Opened {
  /** Registers a resource and returns it. */
  add<T extends AsyncDisposable | Disposable>(resource: T): T;
}

/**
 * Runs a start that opens one resource after another.
 * @returns a disposable that closes all of them
 * @throws the error of the start, after closing what it had opened
 */
export async function openAll(start: (opened: Opened) => Promise<void>): Promise<AsyncDisposable> {
  const resources: (AsyncDisposable | Disposable)[] = [];
  const close = async (): Promise<void> => {
    for (const resource of resources.splice(0).reverse()) {
      if (Symbol.asyncDispose in resource) await resource[Symbol.asyncDispose]();
      else resource[Symbol.dispose]();
    }
  };
  try {
    await start({
      add(resource) {
        resources.push(resource);
        return resource;
      },
    });
  } catch (error) {
    await close();
    throw error;
  }
  return { [Symbol.asyncDispose]: close };
}
