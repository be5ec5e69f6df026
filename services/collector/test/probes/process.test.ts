import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import { atEnd, temporaryDirectory } from "@aviary/shared/testing/temporary.ts";
import { gatewayProcess } from "../../src/probes/process.ts";
import { openProbe, probeContext } from "../probe-context.ts";

describe("the process probe", () => {
  it("reports boot id, memory, and restarts by uptime and process id", async (test) => {
    const pidFile = join(await temporaryDirectory(test), "gateway.pid");
    const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
    atEnd(test, () => void child.kill("SIGKILL"));
    await once(child, "spawn");
    const context = probeContext(test);
    const probe = openProbe(test, gatewayProcess, { pidFile }, context);
    const read = async () => (await probe.read()).bodies[0] as SignalBody<"process">;
    assert.deepEqual(await read(), { gateway_boot: null, restarts: 0, rss_bytes: null });
    await writeFile(pidFile, `${child.pid}\n`);
    context.learn({ uptimeMs: 60_000 });
    const up = await read();
    assert.ok((up.rss_bytes ?? 0) > 1_000_000 && up.gateway_boot !== null && up.restarts === 0);
    context.learn({ uptimeMs: 500 });
    const again = await read();
    assert.equal(again.restarts, 1);
    assert.notEqual(again.gateway_boot, up.gateway_boot);
    await writeFile(pidFile, "999999999");
    const other = await read();
    assert.deepEqual([other.restarts, other.rss_bytes], [2, null]);
  });
});
