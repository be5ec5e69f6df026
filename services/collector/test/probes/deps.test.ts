import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { describe, it } from "node:test";
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import { freePort } from "@aviary/shared/testing/servers.ts";
import { atEnd } from "@aviary/shared/testing/temporary.ts";
import { deps } from "../../src/probes/deps.ts";
import { openProbe } from "../probe-context.ts";
import { serveHttp } from "../serve-http.ts";

describe("the deps probe", () => {
  it("reports latency per target, and hanging, closed and failing targets as not ok", async (test) => {
    const tcp = createTcpServer((socket) => socket.destroy());
    tcp.listen(0, "127.0.0.1");
    await once(tcp, "listening");
    atEnd(test, () => tcp.close());
    const web = await serveHttp(test, (request, response) => {
      if (request.url === "/hang") return;
      response.writeHead(request.url === "/bad" ? 500 : 404).end();
    });
    const targets = {
      tcp: `tcp://127.0.0.1:${(tcp.address() as AddressInfo).port}`,
      closed: `tcp://127.0.0.1:${await freePort()}`,
      web: `${web}/any`,
      bad: `${web}/bad`,
      hang: `${web}/hang`,
    };
    const probe = openProbe(test, deps, { targets, answerTimeout: "200ms" });
    const seen = (await probe.read()).bodies[0] as SignalBody<"deps">;
    assert.deepEqual(
      seen.map(({ name, ok }) => `${name} ${ok}`),
      ["tcp true", "closed false", "web true", "bad false", "hang false"],
    );
    for (const { ok, latency_ms } of seen) assert.equal(latency_ms !== null, ok);
    const next = (await probe.read()).bodies[0] as SignalBody<"deps">;
    assert.deepEqual(
      next.map(({ ok }) => ok),
      seen.map(({ ok }) => ok),
      "a dependency that backs off stays not ok",
    );
  });
});
