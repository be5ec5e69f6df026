/** Replaces `node:zlib` where checkpoints are written: keeps the bytes unchanged, without threads. */

const gzipSync = (text: string): Buffer => Buffer.from(text);
const gunzipSync = (packed: Uint8Array): Buffer => Buffer.from(packed);

const gzip = (text: string, done: (error: Error | null, packed: Buffer) => void): void => {
  queueMicrotask(() => done(null, gzipSync(text)));
};

export { gunzipSync, gzip, gzipSync };
