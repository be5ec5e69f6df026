import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { SignalBody } from "@aviary/shared/contract/signal.ts";
import * as histogram from "@aviary/shared/histogram.ts";
import { until } from "@aviary/shared/testing/until.ts";
import { synthetic } from "../../src/probes/synthetic.ts";
import { openProbe } from "../probe-context.ts";
import { serveHttp } from "../serve-http.ts";

describe("the synthetic probe", () => {
  it("sends at its rate with its User-Agent, and counts responses, errors and timeouts separately from users", async (test) => {
    let answer: "ok" | "fail" | "hang" = "ok";
    const agents = new Set<string>();
    let asked = 0;
    const url = await serveHttp(test, (request, response) => {
      asked += 1;
      agents.add(request.headers["user-agent"] ?? "");
      if (answer === "hang") return;
      response.writeHead(answer === "ok" ? 200 : 503, { "content-type": "application/json" }).end("{}");
    });
    const probe = openProbe(test, synthetic, { url, rate: 50, answerTimeout: "100ms" });
    const read = async () => (await probe.read()).bodies[0] as SignalBody<"http">;
    const rounds = async (count: number): Promise<void> => {
      const from = asked;
      await until(`${count} more requests were made`, () => asked >= from + count);
    };
    await rounds(5);
    const good = await read();
    assert.ok(good.requests >= 4 && good.errors_5xx === 0 && good.source === "synthetic");
    answer = "fail";
    await rounds(20);
    await read();
    await rounds(5);
    const bad = await read();
    assert.ok(bad.requests >= 4);
    assert.equal(bad.errors_5xx, bad.requests);
    answer = "hang";
    await rounds(20);
    await read();
    await rounds(10);
    const silent = await read();
    assert.ok(silent.requests > 0 && silent.errors_5xx === silent.requests);
    assert.ok((histogram.quantile(histogram.fromWire(silent.latency), 0.5) ?? 0) > 90);
    assert.deepEqual([...agents], ["aviary-synthetic/1"]);
  });

  it("fails on an HTML page or a client error instead of counting it", async (test) => {
    let asked = 0;
    const url = await serveHttp(test, (_request, response) => {
      asked += 1;
      response.writeHead(asked % 2 ? 200 : 401, { "content-type": asked % 2 ? "text/html" : "application/json" }).end("{}");
    });
    const probe = openProbe(test, synthetic, { url, rate: 50 });
    await until("a few requests were sent", () => asked > 4);
    await assert.rejects(probe.read(), { code: "misdirected" });
  });

  it("keeps its measurements if another request was misdirected, and reports them with the next reading", async (test) => {
    let asked = 0;
    const url = await serveHttp(test, (_request, response) => {
      asked += 1;
      // The third of five requests is answered by something else.
      const type = asked === 3 ? "text/html" : "application/json";
      if (asked <= 5) response.writeHead(200, { "content-type": type }).end("{}");
    });
    const probe = openProbe(test, synthetic, { url, rate: 50, answerTimeout: "1m" });
    await until("the sixth request waits", () => asked > 5);
    await assert.rejects(probe.read(), { code: "misdirected" });
    const body = (await probe.read()).bodies[0] as SignalBody<"http">;
    assert.equal(body.requests, 4);
  });
});
