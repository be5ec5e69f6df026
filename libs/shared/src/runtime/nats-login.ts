/** Where the broker is and how to log in to it, read in one place by every service and the command line. */
import { readFile } from "node:fs/promises";
import { z } from "zod";
import type { NatsOptions } from "../bus/nats.ts";
import { terminal } from "./faults.ts";

/** The environment variables of the broker connection, to spread into a service's schema. */
export const natsEnv = {
  /** One address, or several separated by commas: `nats://host:4222`, `tls://host:4222`, `nats://user:password@host:4222`. */
  AVIARY_NATS_URL: z.string().min(1).default("nats://127.0.0.1:4222"),
  /** A NATS credentials file (user JWT and seed); without it and without a user in the URL the connection is anonymous. */
  AVIARY_NATS_CREDS_FILE: z.string().min(1).optional(),
} as const;

export interface NatsEnv {
  readonly AVIARY_NATS_URL: string;
  readonly AVIARY_NATS_CREDS_FILE?: string | undefined;
}

export type NatsLogin = Pick<NatsOptions, "servers" | "user" | "pass" | "token" | "creds">;

/**
 * The connection options of these variables. User and password of a URL become options and leave the address, so that no error
 * that names the address shows them; a user without a password is a token, as in the NATS command line.
 * @throws Terminal `bad_nats_url` or `bad_nats_credentials`, neither of which repeats a secret
 */
export async function natsLogin(env: NatsEnv): Promise<NatsLogin> {
  const urls = env.AVIARY_NATS_URL.split(",").map((text) => parseServer(text.trim()));
  const logins = new Set(urls.map(({ username, password }) => JSON.stringify([username, password])));
  if (logins.size > 1)
    throw terminal("bad_nats_url", "AVIARY_NATS_URL has different users for its servers: expected one for all");
  const servers = urls.map((url) => `${url.protocol}//${url.host}`);
  const user = decodeURIComponent(urls[0]?.username ?? "");
  const pass = decodeURIComponent(urls[0]?.password ?? "");
  if (env.AVIARY_NATS_CREDS_FILE !== undefined) return { servers, creds: await readCredentials(env.AVIARY_NATS_CREDS_FILE) };
  if (user === "") return { servers };
  return pass === "" ? { servers, token: user } : { servers, user, pass };
}

function parseServer(text: string): URL {
  const url = URL.parse(/^[a-z]+:\/\//.test(text) ? text : `nats://${text}`);
  if (url === null || !/^(nats|tls|ws|wss):$/.test(url.protocol) || url.hostname === "")
    throw terminal("bad_nats_url", "AVIARY_NATS_URL: expected nats://host:port or tls://host:port, several separated by commas");
  return url;
}

async function readCredentials(path: string): Promise<string> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw terminal("bad_nats_credentials", `AVIARY_NATS_CREDS_FILE: cannot read ${path} (${error.code})`, error);
  });
  if (!text.includes("BEGIN NATS USER JWT"))
    throw terminal("bad_nats_credentials", `AVIARY_NATS_CREDS_FILE: ${path} holds no NATS user JWT`);
  return text;
}
