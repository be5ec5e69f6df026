/** The smallest program that publishes over NATS, once per second. It is the peer of the footprint benchmark. */
import { connect } from "@nats-io/transport-node";

const connection = await connect({ servers: process.argv[2] ?? "" });
const payload = new Uint8Array(549);
setInterval(() => connection.publish("bench.bare", payload), 1_000);
