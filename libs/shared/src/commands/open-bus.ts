/** The broker connection of a command, from the same variables as the services. */
import { z } from "zod";
import { connectNats, type NatsBus } from "../bus/nats.ts";
import { readEnv } from "../runtime/config.ts";
import { faultCode, terminal } from "../runtime/faults.ts";
import { natsEnv, natsLogin } from "../runtime/nats-login.ts";
import type { CommandIo } from "./command.ts";

/** @throws Terminal that names AVIARY_NATS_URL when the broker cannot be reached */
export async function openBus({ env }: CommandIo): Promise<NatsBus> {
  const login = await natsLogin(readEnv(z.strictObject(natsEnv), env));
  try {
    return await connectNats({ ...login, name: "aviary-cli" });
  } catch (error) {
    throw terminal(faultCode(error), `${(error as Error).message}; AVIARY_NATS_URL is the address of the broker`, error);
  }
}
