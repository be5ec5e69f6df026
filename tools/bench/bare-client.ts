/** The smallest program that publishes over NATS, once per second: the peer of the collector's footprint. */
import { connect } from "@nats-io/transport-node";

const connection = await connect({ servers: process.argv[2] ?? "" });
const payload = new Uint8Array(549);
setInterval(() => connection.publish("bench.bare", payload), 1_000);
