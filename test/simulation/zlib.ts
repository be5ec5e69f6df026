/** Stub of `node:zlib` for the checkpoint code: does not compress and uses no threads. */

const gzipSync = (text: string): Buffer => Buffer.from(text);
const gunzipSync = (packed: Uint8Array): Buffer => Buffer.from(packed);

const gzip = (text: string, done: (error: Error | null, packed: Buffer) => void): void => {
  queueMicrotask(() => done(null, gzipSync(text)));
};

export { gunzipSync, gzip, gzipSync };
