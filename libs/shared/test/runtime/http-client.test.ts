import assert from "node:assert/strict";
import type { lookup } from "node:dns";
import { createServer, type RequestListener } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from "node:net";
import { afterEach, describe, it } from "node:test";
import { deniedAddress } from "../../src/runtime/address-policy.ts";
import { isRetryable, Retryable, Terminal } from "../../src/runtime/faults.ts";
import { createHttpClient, type HttpClientOptions, type HttpRequest } from "../../src/runtime/http-client.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function listen(server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closers.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as AddressInfo).port;
}
const http = (handler: RequestListener): Promise<number> => listen(createServer(handler));
const tcp = (onSocket: (socket: Socket) => void): Promise<number> => listen(createTcpServer(onSocket));

function client(options: HttpClientOptions = {}) {
  const made = createHttpClient({ loopback: true, ...options });
  closers.push(() => made[Symbol.dispose]());
  return made;
}
const request = (port: number, fields: Partial<HttpRequest> = {}): HttpRequest => ({
  url: `http://127.0.0.1:${port}/x`,
  timeoutMs: 20_000,
  maxBytes: 1_000,
  ...fields,
});

/** The fault of a call that is expected to fail. */
async function fault(call: Promise<unknown>): Promise<{ code: string; retryable: boolean; message: string }> {
  const error: unknown = await call.then(
    () => assert.fail("the call succeeded"),
    (reason) => reason,
  );
  assert.ok(error instanceof Retryable || error instanceof Terminal, String(error));
  return { code: error.code, retryable: isRetryable(error), message: error.message };
}

describe("a response", () => {
  it("has status, headers and body; the request arrives complete", async () => {
    const port = await http((incoming, response) => {
      let body = "";
      incoming.on("data", (chunk) => {
        body += chunk;
      });
      incoming.on("end", () =>
        response.end(JSON.stringify({ method: incoming.method, url: incoming.url, headers: incoming.headers, body })),
      );
    });
    const url = `http://me:p%40ss@127.0.0.1:${port}/a%20b?q=1`;
    const answer = await client().send({ ...request(port), url, method: "POST", headers: { "x-a": "1" }, body: "héllo" });
    const seen = JSON.parse(answer.body.toString());
    assert.equal(answer.status, 200);
    assert.deepEqual([seen.method, seen.url, seen.body], ["POST", "/a%20b?q=1", "héllo"]);
    assert.equal(seen.headers["x-a"], "1");
    assert.equal(seen.headers["content-length"], "6");
    assert.equal(seen.headers.authorization, `Basic ${Buffer.from("me:p@ss").toString("base64")}`);
    assert.ok(answer.elapsedMs >= 0);
  });

  it("may have any status the caller accepts: a probe reads the body of a 503", async () => {
    const port = await http((_incoming, response) => response.writeHead(503).end('{"status":"starting"}'));
    const answer = await client().send(request(port, { accept: () => true }));
    assert.deepEqual([answer.status, answer.body.toString()], [503, '{"status":"starting"}']);
  });

  it("keeps the connection for the next call", async () => {
    const ports = new Set<number | undefined>();
    const port = await http((incoming, response) => {
      ports.add(incoming.socket.remotePort);
      response.end("ok");
    });
    const kept = client();
    for (let index = 0; index < 5; index += 1) await kept.send(request(port));
    assert.equal(ports.size, 1);
  });

  it("arrives on a new connection if the server has just closed the kept-alive one", async () => {
    let served = 0;
    // Answers one request per connection, and resets the connection at the second request without announcing it in its headers.
    const port = await tcp((socket) => {
      let used = false;
      socket.on("data", () => {
        if (used) {
          socket.resetAndDestroy();
          return;
        }
        used = true;
        served += 1;
        socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
      });
    });
    const kept = client();
    await kept.send(request(port));
    assert.equal((await kept.send(request(port))).body.toString(), "ok");
    assert.equal(served, 2);
    await kept.send(request(port));
    assert.equal(
      (await fault(kept.send(request(port, { method: "POST", body: "x" })))).code,
      "reset",
      "a POST is not retried, because it may have been processed",
    );
  });
});

describe("a failed call", () => {
  it("is refused if there is no listener", async () => {
    const port = await tcp(() => {});
    closers.splice(0).forEach((close) => {
      close();
    });
    assert.deepEqual(await fault(client().send(request(port))), {
      code: "refused",
      retryable: true,
      message: `GET http://127.0.0.1:${port}/x: connection refused`,
    });
  });

  it("times out without a response, or if the response does not end", async () => {
    for (const [text, phase] of [
      ["", "no response"],
      ["HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", "the response did not end"],
    ] as const) {
      const clock = manualClock();
      const asked = Promise.withResolvers<void>();
      const port = await tcp((socket) => {
        socket.on("data", () => socket.write(text, () => asked.resolve()));
        if (text === "") socket.on("data", () => asked.resolve());
      });
      const headers = Promise.withResolvers<void>();
      const accept = (): boolean => {
        headers.resolve();
        return true;
      };
      const call = fault(client({ clock }).send(request(port, { accept })));
      await (text === "" ? asked.promise : headers.promise);
      assert.equal(clock.timers, 1);
      clock.advance(19_999);
      assert.equal(clock.timers, 1);
      clock.advance(1);
      assert.deepEqual(await call, {
        code: "timeout",
        retryable: true,
        message: `GET http://127.0.0.1:${port}/x: ${phase} within 20000 ms`,
      });
      assert.equal(clock.timers, 0);
    }
  });

  it("is reset if the connection closes before or within the response", async () => {
    for (const text of ["", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"]) {
      const port = await tcp((socket) => socket.on("data", () => socket.end(text)));
      const { code, retryable } = await fault(client().send(request(port)));
      assert.deepEqual([code, retryable], ["reset", true]);
    }
  });

  it("is too_large by announcement, by streaming or by its headers", async () => {
    const announced = await http((_incoming, response) => response.writeHead(200, { "content-length": 5_000 }).write("x"));
    const streamed = await http((_incoming, response) => {
      for (let index = 0; index < 100; index += 1) response.write("x".repeat(100));
      response.end();
    });
    const headers = await tcp((socket) =>
      socket.on("data", () => socket.write(`HTTP/1.1 200 OK\r\nx-a: ${"y".repeat(40_000)}\r\n\r\n`)),
    );
    for (const port of [announced, streamed, headers]) {
      const { code, retryable } = await fault(client().send(request(port)));
      assert.deepEqual([code, retryable], ["too_large", false]);
    }
    const exact = await http((_incoming, response) => response.end("x".repeat(1_000)));
    assert.equal((await client().send(request(exact))).body.length, 1_000);
  });

  it("never follows a redirect, regardless of accepted statuses", async () => {
    let calls = 0;
    const port = await http((_incoming, response) => {
      calls += 1;
      response.writeHead(302, { location: "http://169.254.169.254/latest?token=hunter2" }).end();
    });
    const { code, retryable, message } = await fault(client().send(request(port, { accept: () => true })));
    assert.deepEqual([code, retryable, calls], ["redirect", false, 1]);
    assert.match(message, /redirect to http:\/\/169\.254\.169\.254;/);
  });

  it("is a bad_status, retryable if it may pass", async () => {
    for (const [status, retryable] of [
      [500, true],
      [503, true],
      [429, true],
      [408, true],
      [400, false],
      [401, false],
      [404, false],
    ] as const) {
      const port = await http((_incoming, response) => response.writeHead(status).end());
      assert.deepEqual(await fault(client().send(request(port))), {
        code: "bad_status",
        retryable,
        message: `GET http://127.0.0.1:${port}/x: status ${status}`,
      });
    }
  });

  it("distinguishes not_http, tls, no_such_host, bad_url and bad_request", async () => {
    const garbage = await tcp((socket) => socket.on("data", () => socket.end("SSH-2.0-OpenSSH_9.6\r\n")));
    assert.equal((await fault(client().send(request(garbage)))).code, "not_http");
    const plain = await http((_incoming, response) => response.end());
    assert.equal((await fault(client().send({ ...request(plain), url: `https://127.0.0.1:${plain}/` }))).code, "tls");
    const gone = client({
      lookup: ((_name: string, _options: unknown, done: (error: Error) => void) =>
        done(Object.assign(new Error("x"), { code: "ENOTFOUND" }))) as unknown as typeof lookup,
    });
    assert.equal((await fault(gone.send({ ...request(1), url: "http://nowhere.example/" }))).code, "no_such_host");
    assert.equal((await fault(client().send({ ...request(1), url: "no url" }))).code, "bad_url");
    assert.equal((await fault(client().send(request(plain, { headers: { "x-a": "a\r\nb: c" } })))).code, "bad_request");
  });

  it("rethrows the caller's abort reason unchanged, before and during the call", async () => {
    const asked = Promise.withResolvers<void>();
    const port = await tcp((socket) => socket.on("data", () => asked.resolve()));
    const clock = manualClock();
    const stop = new AbortController();
    const call = client({ clock }).send(request(port, { signal: stop.signal }));
    await asked.promise;
    stop.abort(new Error("stopping"));
    await assert.rejects(call, /^Error: stopping$/);
    await assert.rejects(client({ clock }).send(request(port, { signal: stop.signal })), /^Error: stopping$/);
    assert.equal(clock.timers, 0);
  });

  it("has no password, query or secret path in its message", async () => {
    const port = await http((_incoming, response) => response.writeHead(404).end());
    const url = `http://me:hunter2@127.0.0.1:${port}/hooks/s3cret?key=q8`;
    const { message } = await fault(client().send({ ...request(port), url, secretPath: true }));
    assert.equal(message, `GET http://127.0.0.1:${port}: status 404`);
  });
});

/** Forbidden addresses in forms that a naive check of the URL accepts. */
const BYPASSES = [
  "http://169.254.169.254/latest/meta-data/",
  "http://169.254.169.254./",
  "http://2852039166/",
  "http://0xa9fea9fe/",
  "http://0xA9.0xFE.0xA9.0xFE/",
  "http://0251.0376.0251.0376/",
  "http://0251.254.0xa9.254/",
  "http://169.254.43518/",
  "http://169.16689662/",
  "http://１６９.254.169.254/",
  "http://169。254。169。254/",
  "http://169.254.1.1/",
  "http://user@169.254.169.254/",
  "http://example.com@169.254.169.254/",
  "http://example.com%40x:y@169.254.169.254:80/",
  "http:169.254.169.254/",
  "http:/169.254.169.254/",
  "http:\\\\169.254.169.254\\",
  "HTTP://169.254.169.254/",
  " http://169.254.169.254/",
  "http://169.254.169.254#@example.com/",
  "http://169.254.169.254\\@example.com/",
  "ht\ntp://169.254.169.254/",
  "http://[::ffff:169.254.169.254]/",
  "http://[::ffff:a9fe:a9fe]/",
  "http://[0:0:0:0:0:ffff:a9fe:a9fe]/",
  "http://[::169.254.169.254]/",
  "http://[::ffff:0:169.254.169.254]/",
  "http://[64:ff9b::a9fe:a9fe]/",
  "http://[64:ff9b:1::169.254.169.254]/",
  "http://[2002:a9fe:a9fe::1]/",
  "http://[2001:0:a9fe:a9fe::1]/",
  "http://[fe80::1]/",
  "http://[febf::1]/",
  "http://[fd00:ec2::254]/",
  "http://[fd20:ce::254]/",
  "http://[::1]/",
  "http://[0000::0001]/",
  "http://[::]/",
  "http://[ff02::1]/",
  "http://0/",
  "http://0.0.0.0/",
  "http://127.0.0.1/",
  "http://127.1/",
  "http://2130706433/",
  "http://0x7f.1/",
  "http://017700000001/",
  "http://[::ffff:127.0.0.1]/",
  "http://[::127.0.0.1]/",
  "http://100.100.100.200/",
  "http://168.63.129.16/",
  "http://192.0.0.192/",
  "http://224.0.0.1/",
  "http://255.255.255.255/",
  "http://metadata.google.internal/computeMetadata/v1/",
  "http://METADATA.google.internal./",
  "http://metadata/",
  "http://instance-data/latest/",
] as const;

describe("the address policy", () => {
  const unreachable = ((name: string) => assert.fail(`${name} was resolved`)) as unknown as typeof lookup;

  for (const url of BYPASSES) {
    it(`rejects ${JSON.stringify(url)} without resolving it`, async () => {
      const { code, retryable } = await fault(client({ loopback: false, lookup: unreachable }).send({ ...request(1), url }));
      assert.deepEqual([code, retryable], ["address_denied", false]);
    });
  }

  it("rejects other schemes", async () => {
    for (const url of [
      "file:///etc/passwd",
      "gopher://x/",
      "ftp://x/",
      "data:text/plain,x",
      "unix:/run/x.sock",
      "javascript:1",
      "ws://x/",
    ]) {
      assert.equal((await fault(client().send({ ...request(1), url }))).code, "scheme_denied", url);
    }
    assert.equal((await fault(client({ schemes: ["https:"] }).send({ ...request(1), url: "http://x/" }))).code, "scheme_denied");
  });

  /** A name server with scripted answers, one per query. */
  const resolver = (...answers: readonly (readonly string[])[]) => {
    const left = [...answers];
    const asked: string[] = [];
    const fake = (
      name: string,
      _options: unknown,
      done: (error: null, found: { address: string; family: number }[]) => void,
    ): void => {
      asked.push(name);
      done(
        null,
        (left.shift() ?? []).map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
      );
    };
    return { asked, lookup: fake as unknown as typeof lookup };
  };

  it("rejects a name that resolves to a forbidden address, even next to an allowed one", async () => {
    for (const addresses of [
      ["169.254.169.254"],
      ["93.184.216.34", "169.254.169.254"],
      ["::ffff:169.254.169.254"],
      ["fe80::1%eth0"],
      ["127.0.0.1"],
      [],
    ]) {
      const { lookup } = resolver(addresses);
      const { code, message } = await fault(
        client({ loopback: false, lookup }).send({ ...request(1), url: "http://innocent.example/" }),
      );
      assert.equal(code, "address_denied");
      assert.match(message, /innocent\.example resolves to/);
    }
  });

  it("connects to the checked address: a name is resolved once per connection", async () => {
    const port = await http((incoming, response) => response.end(incoming.headers.host));
    const { asked, lookup } = resolver(["127.0.0.1"], ["169.254.169.254"]);
    const own = client({ lookup });
    const url = `http://rebind.example:${port}/`;
    assert.equal((await own.send({ ...request(port), url })).body.toString(), `rebind.example:${port}`);
    await own.send({ ...request(port), url });
    assert.deepEqual(asked, ["rebind.example"], "the kept-alive connection still uses the checked address");
    own[Symbol.dispose]();
    assert.equal((await fault(client({ lookup }).send({ ...request(port), url }))).code, "address_denied");
  });

  it("permits an allowed host", async () => {
    const port = await http((_incoming, response) => response.end("ok"));
    const byAddress = client({ loopback: false, allow: ["127.0.0.1"] });
    assert.equal((await byAddress.send(request(port))).status, 200);
    const { lookup } = resolver(["127.0.0.1"]);
    assert.equal(
      (
        await client({ loopback: false, allow: ["127.0.0.1"], lookup }).send({
          ...request(port),
          url: `http://named.example:${port}/`,
        })
      ).status,
      200,
    );
    assert.equal(
      (await client({ loopback: false, allow: ["LOCALHOST."] }).send({ ...request(port), url: `http://localhost:${port}/` }))
        .status,
      200,
    );
    assert.equal((await fault(byAddress.send({ ...request(port), url: `http://127.0.0.2:${port}/` }))).code, "address_denied");
  });

  it("permits private and public networks", () => {
    for (const address of [
      "10.0.0.1",
      "172.16.0.1",
      "192.168.1.1",
      "100.64.0.1",
      "93.184.216.34",
      "fd12::1",
      "2606:4700::1111",
      "64:ff9b::5db8:d822",
    ]) {
      assert.equal(deniedAddress(address, false), undefined, address);
    }
    assert.equal(deniedAddress("::1", true), undefined);
    assert.equal(deniedAddress("not-an-address", true), "not an IP address");
  });
});
