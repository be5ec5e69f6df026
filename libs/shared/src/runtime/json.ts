/** JSON that comes from elsewhere. */

const decoder = new TextDecoder();

/** The value of JSON text in UTF-8, or `undefined` when it is none. */
export function parseJsonBytes(data: Uint8Array): unknown {
  try {
    // A Buffer decodes itself faster than a decoder does.
    return JSON.parse(Buffer.isBuffer(data) ? data.toString("utf8") : decoder.decode(data));
  } catch {
    return undefined;
  }
}
