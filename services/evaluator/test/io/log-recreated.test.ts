/** INPUTS is deleted and created again on a real server, with more messages than the checkpoint's position. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connectNats, type NatsBus } from "@aviary/shared/bus/nats.ts";
import { LOCAL_MAX_BYTES, topology } from "@aviary/shared/bus/streams.ts";
import { applyStreams } from "@aviary/shared/bus/streams-apply.ts";
import { type ControlContent, controlMessage } from "@aviary/shared/contract/control.ts";
import { parseIncident } from "@aviary/shared/contract/incident.ts";
import { controlSubject, verdictSubject } from "@aviary/shared/contract/subjects.ts";
import { parseVerdictRecord, type VerdictBody } from "@aviary/shared/contract/verdict.ts";
import { systemClock } from "@aviary/shared/runtime/clock.ts";
import { missingServer, startNats } from "@aviary/shared/testing/servers.ts";
import { storedMessages } from "@aviary/shared/testing/stored-messages.ts";
import { until } from "@aviary/shared/testing/until.ts";
import { CANARY, createSimulatedFleet } from "../core/simulated-fleet.ts";
import { startLiveEvaluator } from "../live-fleet.ts";

const TOPOLOGY = topology({ maxBytes: LOCAL_MAX_BYTES, lanes: ["build-az-a"] });
const { config } = createSimulatedFleet({ azs: ["az-a"] });
let published = 0;

async function publish(bus: NatsBus, content: ControlContent): Promise<void> {
  const message = controlMessage(CANARY, content, new Date().toISOString(), String(published++));
  await bus.publish({ subject: controlSubject("payments", CANARY, content.verb), data: JSON.stringify(message), id: message.id });
}

async function lastVerdict(bus: NatsBus): Promise<VerdictBody | undefined> {
  const message = await bus.last("VERDICTS", verdictSubject(CANARY));
  const parsed = message && parseVerdictRecord(JSON.parse(Buffer.from(message.data).toString()));
  return parsed?.success ? parsed.data.body : undefined;
}

async function incidentCodes(bus: NatsBus): Promise<string[]> {
  const incidents = await storedMessages(bus, "INCIDENTS");
  return incidents.flatMap(({ data }) => parseIncident(JSON.parse(Buffer.from(data).toString())).data?.code ?? []);
}

const start = (bus: NatsBus, holder: string) => startLiveEvaluator({ bus, config, clock: systemClock, holder });

/** A new log that begins with an operator's abort and is longer than the previous one. */
async function recreateLog(bus: NatsBus): Promise<void> {
  await bus.connection.request("$JS.API.STREAM.DELETE.INPUTS");
  await applyStreams(bus.connection, TOPOLOGY);
  await publish(bus, { verb: "abort", caller: "operator", reason: "stop it" });
  for (let index = 0; index < 40; index++) await publish(bus, { verb: "resume", caller: "operator", reason: "filler" });
}

for (const when of ["while no evaluator runs", "while the evaluator reads it"] as const) {
  test(`a log that is replaced ${when} by a longer one is a log_gap, and is applied from its first message`, {
    skip: missingServer("nats") ?? false,
    timeout: 60_000,
  }, async () => {
    const server = await startNats();
    after(() => server.stop());
    const bus = await connectNats({ servers: server.url, name: "test" });
    after(() => bus[Symbol.asyncDispose]());
    await applyStreams(bus.connection, TOPOLOGY);
    const first = start(bus, "first");
    await publish(bus, { verb: "start", caller: "operator", revision: "v2" });
    await until("the run is open", async () => (await lastVerdict(bus))?.run?.controller_revision === "v2");
    const checkpoints = await bus.bucket("checkpoint");
    await until("it is in a checkpoint", async () => (await checkpoints.get("evaluator")) !== undefined);
    if (when === "while no evaluator runs") await first[Symbol.asyncDispose]();
    await recreateLog(bus);
    const second = start(bus, "second");
    await until("the operator's abort is applied", async () => (await lastVerdict(bus))?.run?.state === "aborted");
    assert.deepEqual(await incidentCodes(bus), ["log_gap"]);
    assert.ok((await lastVerdict(bus))!.reasons.some(({ code }) => code === "gap"));
    await second[Symbol.asyncDispose]();
    await first[Symbol.asyncDispose]();
  });
}
