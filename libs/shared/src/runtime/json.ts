/** JSON from external sources. */

const decoder = new TextDecoder();

/** Parses JSON text in UTF-8; `undefined` if it is invalid. */
export function parseJsonBytes(data: Uint8Array): unknown {
  try {
    // A Buffer decodes faster than a TextDecoder.
    return JSON.parse(Buffer.isBuffer(data) ? data.toString("utf8") : decoder.decode(data));
  } catch {
    return undefined;
  }
}
