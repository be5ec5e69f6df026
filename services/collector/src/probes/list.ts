/**
 * All probes in start order. The first two observe the gateway's release, which every signal carries.
 *
 * Signal sources not implemented yet, and where each would read:
 *   http from Prometheus   an instant query, for gateways that run as pods
 *   queue, JetStream       `num_pending` of a lane's consumer
 *   queue, role gateway    the gateway's lanes through its WebSocket call `diagnostics.lanes`
 *   doctor                 `openclaw doctor --lint --json --only …`, without the errors accepted before
 *   log                    the gateway's own JSONL log, by level and subsystem
 */
import type { Probe } from "../probe.ts";
import { accessLog } from "./access-log.ts";
import { deps } from "./deps.ts";
import { disk } from "./disk.ts";
import { gatewayProbes } from "./gateway-probes.ts";
import { gatewayProcess } from "./process.ts";
import { queue } from "./queue.ts";
import { rollout } from "./rollout.ts";
import { skills } from "./skills.ts";
import { synthetic } from "./synthetic.ts";

export const PROBES: readonly Probe[] = [gatewayProbes, skills, accessLog, synthetic, queue, disk, gatewayProcess, deps, rollout];
