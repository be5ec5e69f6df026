/** The broker's address and login, read here for every service and the command line. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { z } from "zod";
import type { NatsOptions } from "../bus/nats.ts";
import { ConfigError, type ConfigProblem, readFailure, type SourceProblem, type ValueProblem } from "./config.ts";
import { MISSING } from "./config-issues.ts";

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

type Variable = keyof typeof natsEnv;

/**
 * The connection options of these variables. User and password of a URL become options and are removed from the address, so
 * that no error that contains the address shows them; a user without a password is a token, as in the NATS command line.
 * @throws ConfigError with every problem, without a secret
 */
export async function natsLogin(env: NatsEnv): Promise<NatsLogin> {
  const problems: ConfigProblem[] = [];
  const report: Report = (variable, problem) => void problems.push({ source: "environment", path: variable, ...problem });
  const servers = readServers(env.AVIARY_NATS_URL, report);
  const creds = await readCredentials(env.AVIARY_NATS_CREDS_FILE, report);
  const tls = await readTls(env, report);
  if (problems.length > 0) throw new ConfigError(problems);
  const requiresTls = tls !== undefined || servers.some(({ url }) => url.protocol === "tls:" || url.protocol === "wss:");
  const base = {
    servers: servers.map(({ url }) => `${url.protocol}//${url.host}`),
    ...(requiresTls ? { tls: tls ?? {} } : {}),
  };
  if (creds !== undefined) return { ...base, creds };
  const { user, pass } = servers[0] ?? { user: "", pass: "" };
  if (user === "") return base;
  return pass === "" ? { ...base, token: user } : { ...base, user, pass };
}

type Report = (variable: Variable, problem: Pick<ValueProblem, "found" | "expected"> | Pick<SourceProblem, "reason">) => void;

interface Server {
  readonly url: URL;
  readonly user: string;
  readonly pass: string;
}

function readServers(text: string, report: Report): Server[] {
  const problem = (found: string, expected: string) => report("AVIARY_NATS_URL", { found, expected });
  const servers = text.split(",").flatMap((address): Server[] => {
    const trimmed = address.trim();
    const url = URL.parse(/^[a-z]+:\/\//.test(trimmed) ? trimmed : `nats://${trimmed}`);
    if (url === null || !/^(nats|tls|ws|wss):$/.test(url.protocol) || url.hostname === "") {
      problem("a malformed address", "nats://host:port or tls://host:port, several separated by commas");
      return [];
    }
    const [user, pass] = [decoded(url.username), decoded(url.password)];
    if (user === undefined || pass === undefined) problem("credentials with invalid percent-encoding", "% written as %25");
    else if (user === "" && pass !== "") problem("a password without a user", "a user before the password");
    else return [{ url, user, pass }];
    return [];
  });
  const logins = new Set(servers.map(({ user, pass }) => JSON.stringify([user, pass])));
  if (logins.size > 1) problem("different credentials", "the same credentials for all servers");
  return servers;
}

/** Undefined if the percent-encoding is invalid. */
function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

async function readCredentials(file: string | undefined, report: Report): Promise<string | undefined> {
  const text = await readVariableFile("AVIARY_NATS_CREDS_FILE", file, report);
  if (text !== undefined && !text.includes("BEGIN NATS USER JWT"))
    report("AVIARY_NATS_CREDS_FILE", { found: `${file}, which contains no NATS user JWT`, expected: "a NATS credentials file" });
  return text;
}

/**
 * The TLS options, or undefined if no variable requests TLS. Unusable files are reported here: the client would retry them
 * indefinitely.
 */
async function readTls(env: NatsEnv, report: Report): Promise<NatsOptions["tls"]> {
  const { AVIARY_NATS_CA_FILE: caFile, AVIARY_NATS_CERT_FILE: certFile, AVIARY_NATS_KEY_FILE: keyFile } = env;
  if (certFile === undefined && keyFile !== undefined)
    report("AVIARY_NATS_CERT_FILE", { found: MISSING, expected: "the certificate of AVIARY_NATS_KEY_FILE" });
  if (certFile !== undefined && keyFile === undefined)
    report("AVIARY_NATS_KEY_FILE", { found: MISSING, expected: "the private key of AVIARY_NATS_CERT_FILE" });
  const ca = await readPem("AVIARY_NATS_CA_FILE", caFile, report, parseCertificates);
  const cert = await readPem("AVIARY_NATS_CERT_FILE", certFile, report, parseCertificates);
  const key = await readPem("AVIARY_NATS_KEY_FILE", keyFile, report, createPrivateKey);
  if (cert !== undefined && key !== undefined && cert.parsed[0]?.checkPrivateKey(key.parsed) === false)
    report("AVIARY_NATS_KEY_FILE", {
      found: `${keyFile}, the key of another certificate`,
      expected: `the private key of ${certFile}`,
    });
  if (ca === undefined && cert === undefined) return undefined;
  return {
    ...(ca === undefined ? {} : { ca: ca.text }),
    ...(cert === undefined ? {} : { cert: cert.text }),
    ...(key === undefined ? {} : { key: key.text }),
  };
}

async function readPem<T>(
  variable: Variable,
  file: string | undefined,
  report: Report,
  parse: (text: string) => T,
): Promise<{ readonly text: string; readonly parsed: T } | undefined> {
  const text = await readVariableFile(variable, file, report);
  if (text === undefined) return undefined;
  try {
    return { text, parsed: parse(text) };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const expected = variable === "AVIARY_NATS_KEY_FILE" ? "an unencrypted private key (PEM)" : "certificates (PEM)";
    report(variable, { found: `${file}, which cannot be parsed (${code ?? message})`, expected });
    return undefined;
  }
}

/** @throws Error if there is no certificate, or one is malformed */
function parseCertificates(text: string): X509Certificate[] {
  const blocks = text.match(/-----BEGIN (?:TRUSTED )?CERTIFICATE-----[\s\S]*?-----END (?:TRUSTED )?CERTIFICATE-----/g);
  if (blocks === null) throw new Error("no certificate");
  return blocks.map((block) => new X509Certificate(block));
}

/** The file's text; undefined if the variable is not set or, after a report, the file cannot be read. */
async function readVariableFile(variable: Variable, file: string | undefined, report: Report): Promise<string | undefined> {
  if (file === undefined) return undefined;
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    report(variable, { reason: `${file} ${readFailure(error)}` });
    return undefined;
  }
}
