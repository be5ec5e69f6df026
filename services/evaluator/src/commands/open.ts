/** What the evaluator's verbs share: the fleet's setup, a bus, and how a refusal is told. */
import { connectNats, type NatsBus } from "@aviary/shared/bus/nats.ts";
import type { CommandIo } from "@aviary/shared/commands/command.ts";
import { parseDuration } from "@aviary/shared/contract/units.ts";
import { faultCode, terminal } from "@aviary/shared/runtime/faults.ts";
import { loadFleet } from "@aviary/shared/runtime/fleet-config.ts";
import { natsLogin } from "@aviary/shared/runtime/nats-login.ts";
import { type ResolvedConfig, resolveConfig } from "../core/resolved-config.ts";

/** The fleet file's setup: `--fleet`, else AVIARY_FLEET_FILE, else aviary.yaml. */
export async function openSetup(path: string | undefined, io: CommandIo): Promise<{ setup: ResolvedConfig; path: string }> {
  const file = path ?? io.env.AVIARY_FLEET_FILE ?? "aviary.yaml";
  const { fleet, policies, policyHash } = await loadFleet(file);
  return { setup: resolveConfig(fleet, policies, policyHash), path: file };
}

/** The broker at AVIARY_NATS_URL. @throws Terminal that names the variable when it cannot be reached */
export async function openBus(io: CommandIo): Promise<NatsBus> {
  const { AVIARY_NATS_URL = "nats://127.0.0.1:4222", AVIARY_NATS_CREDS_FILE } = io.env;
  const login = await natsLogin({ AVIARY_NATS_URL, AVIARY_NATS_CREDS_FILE });
  try {
    return await connectNats({ ...login, name: "aviary-cli" });
  } catch (error) {
    throw terminal(faultCode(error), `${(error as Error).message}; AVIARY_NATS_URL says where the broker is`, error);
  }
}

/** A duration of the command line. @throws Terminal `usage` */
export function durationArg(name: string, text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) throw terminal("usage", `--${name} ${text}: expected a duration such as 30m, 6h or 7d`);
  return ms;
}

/** Runs a verb's body; a refusal becomes one line and exit code 1, a wrong call the usage and 2. */
export async function told(usage: string, io: CommandIo, body: () => Promise<number>): Promise<number> {
  try {
    return await body();
  } catch (error) {
    const wrongCall = isWrongCall(error);
    io.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${wrongCall ? `usage: aviary ${usage}\n` : ""}`);
    return wrongCall ? 2 : 1;
  }
}

function isWrongCall(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return code === "usage" || (typeof code === "string" && code.startsWith("ERR_PARSE_ARGS"));
}
