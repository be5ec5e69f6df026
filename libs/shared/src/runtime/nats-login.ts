/** Where the broker is and how to log in to it, read in one place by every service and the command line. */
import { readFile } from "node:fs/promises";
import { z } from "zod";
import type { NatsOptions } from "../bus/nats.ts";
import { terminal } from "./faults.ts";

const path = z.string().min(1).optional();

/** The environment variables of the broker connection, to spread into a schema. */
export const natsEnv = {
  /** One address, or several separated by commas: `nats://host:4222`, `tls://host:4222`, `nats://user:password@host:4222`. */
  AVIARY_NATS_URL: z.string().min(1).default("nats://127.0.0.1:4222"),
  /** A NATS credentials file (user JWT and seed); without it and without a user in the URL the connection is anonymous. */
  AVIARY_NATS_CREDS_FILE: path,
  /** Certificates (PEM) of the authorities that may sign the broker's certificate; the system's by default. Requires TLS. */
  AVIARY_NATS_CA_FILE: path,
  /** This client's certificate and private key (PEM), for brokers that verify clients. Both or neither. */
  AVIARY_NATS_CERT_FILE: path,
  AVIARY_NATS_KEY_FILE: path,
} as const;

export type NatsEnv = Pick<z.output<z.ZodObject<typeof natsEnv>>, "AVIARY_NATS_URL"> &
  Partial<z.output<z.ZodObject<typeof natsEnv>>>;

export type NatsLogin = Pick<NatsOptions, "servers" | "user" | "pass" | "token" | "creds" | "tls">;

/**
 * The connection options of these variables. User and password of a URL become options and are removed from the address, so that no error
 * that contains the address shows them; a user without a password is a token, as in the NATS command line.
 * @throws Terminal `bad_nats_url`, `bad_nats_credentials` or `bad_nats_tls`, none of which contains a secret
 */
export async function natsLogin(env: NatsEnv): Promise<NatsLogin> {
  const urls = env.AVIARY_NATS_URL.split(",").map((text) => parseServer(text.trim()));
  const logins = new Set(urls.map(({ username, password }) => JSON.stringify([username, password])));
  if (logins.size > 1)
    throw terminal("bad_nats_url", "AVIARY_NATS_URL has different users for its servers: expected one for all");
  const tls = await readTls(env);
  const requiresTls = tls !== undefined || urls.some(({ protocol }) => protocol === "tls:" || protocol === "wss:");
  const base = {
    servers: urls.map((url) => `${url.protocol}//${url.host}`),
    ...(requiresTls ? { tls: tls ?? {} } : {}),
  };
  if (env.AVIARY_NATS_CREDS_FILE !== undefined) return { ...base, creds: await readCredentials(env.AVIARY_NATS_CREDS_FILE) };
  const user = decodeURIComponent(urls[0]?.username ?? "");
  const pass = decodeURIComponent(urls[0]?.password ?? "");
  if (user === "") return base;
  return pass === "" ? { ...base, token: user } : { ...base, user, pass };
}

function parseServer(text: string): URL {
  const url = URL.parse(/^[a-z]+:\/\//.test(text) ? text : `nats://${text}`);
  if (url === null || !/^(nats|tls|ws|wss):$/.test(url.protocol) || url.hostname === "")
    throw terminal("bad_nats_url", "AVIARY_NATS_URL: expected nats://host:port or tls://host:port, several separated by commas");
  return url;
}

async function readCredentials(file: string): Promise<string> {
  const text = await readVariableFile("AVIARY_NATS_CREDS_FILE", file, "bad_nats_credentials");
  if (!text.includes("BEGIN NATS USER JWT"))
    throw terminal("bad_nats_credentials", `AVIARY_NATS_CREDS_FILE: ${file} contains no NATS user JWT`);
  return text;
}

/** The TLS options, or undefined if no variable asks for TLS. */
async function readTls(env: NatsEnv): Promise<NatsOptions["tls"]> {
  const { AVIARY_NATS_CA_FILE: caFile, AVIARY_NATS_CERT_FILE: certFile, AVIARY_NATS_KEY_FILE: keyFile } = env;
  if ((certFile === undefined) !== (keyFile === undefined))
    throw terminal("bad_nats_tls", "AVIARY_NATS_CERT_FILE and AVIARY_NATS_KEY_FILE: set both or neither");
  if (caFile === undefined && certFile === undefined) return undefined;
  const pem = async (variable: string, file: string | undefined, label: string): Promise<string | undefined> => {
    if (file === undefined) return undefined;
    const text = await readVariableFile(variable, file, "bad_nats_tls");
    if (!text.includes(`${label}-----`)) throw terminal("bad_nats_tls", `${variable}: ${file} contains no PEM block "${label}"`);
    return text;
  };
  const ca = await pem("AVIARY_NATS_CA_FILE", caFile, "CERTIFICATE");
  const cert = await pem("AVIARY_NATS_CERT_FILE", certFile, "CERTIFICATE");
  const key = await pem("AVIARY_NATS_KEY_FILE", keyFile, "PRIVATE KEY");
  return { ...(ca === undefined ? {} : { ca }), ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }) };
}

async function readVariableFile(variable: string, file: string, code: string): Promise<string> {
  return await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw terminal(code, `${variable}: cannot read ${file} (${error.code})`, error);
  });
}
