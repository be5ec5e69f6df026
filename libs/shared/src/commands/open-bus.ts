/** The broker connection of a command, from the same variables as the services. */
import { z } from "zod";
import { connectNats, type NatsBus } from "../bus/nats.ts";
import { readEnv } from "../runtime/config.ts";
import { faultCode, terminal } from "../runtime/faults.ts";
import { natsEnv, natsLogin } from "../runtime/nats-login.ts";
import type { CommandIo } from "./command.ts";

/** @throws Terminal that names AVIARY_NATS_URL when there is no broker of this fleet, or it cannot be reached */
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
 * The default address is only used where nothing selects a fleet: any broker may listen there, such as one behind a forwarded port.
 * @throws Terminal `no_broker` where the fleet is selected and its broker is not
 */
function requireBroker({ env, localFleet }: CommandIo): void {
  if ((env.AVIARY_NATS_URL ?? "") !== "") return;
  if (localFleet?.hasBroker === false)
    throw terminal(
      "no_broker",
      "the embedded fleet has no broker; start one with `npm start` without --embedded, or set AVIARY_NATS_URL to reach another fleet",
    );
  if ((env.AVIARY_URL ?? "") !== "")
    throw terminal(
      "no_broker",
      "AVIARY_URL selects a fleet and AVIARY_NATS_URL is not set; set AVIARY_NATS_URL to the broker of the same fleet",
    );
}
