/**
 * An HTTP client that trusts the certificates of one file and nothing else.
 *
 * A certificate in the file that is the server's own is pinned: it may lack the server's address, because no other server
 * has its key. A certificate signed by an authority in the file must contain the address, as usual. Expired certificates are
 * rejected.
 */
import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { terminal } from "@aviary/shared/runtime/faults.ts";
import type { HttpClient, HttpClientTls } from "@aviary/shared/runtime/http-client.ts";

export interface PinnedHttp extends Disposable {
  /**
   * The client for the certificates that the file contains now: a renewed certificate is trusted without a restart.
   * @throws Terminal `ca_file` if the file cannot be read or contains no certificate
   */
  client(): Promise<HttpClient>;
}

export function openPinnedHttp(caFile: string, open: (tls: HttpClientTls) => HttpClient): PinnedHttp {
  let current: { readonly ca: string; readonly http: HttpClient } | undefined;
  return {
    async client() {
      const ca = await readFile(caFile, "utf8").catch((error: unknown) => {
        throw terminal("ca_file", `cannot read ${caFile}: ${error instanceof Error ? error.message : String(error)}`, error);
      });
      if (current?.ca === ca) return current.http;
      const pins = fingerprintsIn(ca, caFile);
      // Loaded here, because TLS costs megabytes that a collector of a gateway without it never needs.
      const { checkServerIdentity } = process.getBuiltinModule("node:tls");
      current?.http[Symbol.dispose]();
      const http = open({
        ca,
        checkServerIdentity: (host, certificate) =>
          pins.has(certificate.fingerprint256) ? undefined : checkServerIdentity(host, certificate),
      });
      current = { ca, http };
      return http;
    },
    [Symbol.dispose]() {
      current?.http[Symbol.dispose]();
    },
  };
}

function fingerprintsIn(pem: string, caFile: string): ReadonlySet<string> {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw terminal("ca_file", `${caFile} contains no certificate in PEM form`);
  try {
    return new Set(blocks.map((block) => new X509Certificate(block).fingerprint256));
  } catch (error) {
    throw terminal("ca_file", `${caFile} contains a certificate that cannot be read`, error);
  }
}
