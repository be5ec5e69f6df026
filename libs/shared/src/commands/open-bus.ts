/** The broker connection of a command, from the same variables as the services. */
import { z } from "zod";
import { connectNats, type NatsBus } from "../bus/nats.ts";
import { readEnv } from "../runtime/config.ts";
import { faultCode, terminal } from "../runtime/faults.ts";
import { natsEnv, natsLogin } from "../runtime/nats-login.ts";
import type { CommandIo } from "./command.ts";

/** @throws Terminal that names AVIARY_NATS_URL if this fleet has no broker, or it cannot be reached */
export async function openBus(io: CommandIo): Promise<NatsBus> {
  requireBroker(io);
  const login = await natsLogin(readEnv(z.strictObject(natsEnv), io.env));
  try {
    return await connectNats({ ...login, name: "aviary-cli" });
  } catch (error) {
    throw terminal(faultCode(error), `${(error as Error).message}; AVIARY_NATS_URL is the address of the broker`, error);
  }
}

/**
 * The services' default address is not used, because any broker may listen there, such as one behind a forwarded port.
 * @throws Terminal `no_broker` if no broker is named
 */
function requireBroker({ env, localFleet }: CommandIo): void {
  if ((env.AVIARY_NATS_URL ?? "") !== "") return;
  if (localFleet?.hasBroker === false)
    throw terminal(
      "no_broker",
      "the embedded fleet has no broker; start one with `npm start` without --embedded, or set AVIARY_NATS_URL to reach another fleet",
    );
  const fleet = (env.AVIARY_URL ?? "") === "" ? "" : ", the broker of the fleet that AVIARY_URL selects";
  throw terminal(
    "no_broker",
    `set AVIARY_NATS_URL (for example nats://127.0.0.1:4222)${fleet}, or start the local fleet with \`npm start\``,
  );
}
