import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { checkConfig, formatProblem } from "@aviary/shared/runtime/config.ts";
import { redactText } from "@aviary/shared/runtime/redact.ts";
import fc from "fast-check";
import { checkTokenFile, minimumOverlapMs, rotationOverlapMs } from "../../src/auth/token-rotation.ts";
import {
  type AuthRejection,
  type Caller,
  createTokenStore,
  generateToken,
  hashToken,
  isRejection,
  mayAccess,
  type TokenEntry,
  tokenFileSchema,
} from "../../src/auth/tokens.ts";

const NOW = Date.UTC(2026, 10, 1);
const MINUTE = 60_000;
const DAY = 86_400_000;

function entry(token: string, fields: Partial<TokenEntry> = {}): TokenEntry {
  return { id: "flagger-prod", sha256: hashToken(token), caller: "flagger", ...fields };
}

const current = "current-token-0123456789";
const previous = "previous-token-0123456789";
const kedaToken = "keda-token-0123456789";
const store = createTokenStore([
  entry(previous, { notAfter: NOW + 7 * DAY }),
  entry(current, { namespaces: ["prod", "stage"] }),
  entry(kedaToken, { id: "keda", caller: "keda" }),
  entry("gone", { id: "gone", notAfter: NOW }),
]);

/** The id of the caller, or the code of the rejection. */
function who(answer: Caller | AuthRejection): string {
  return isRejection(answer) ? answer.rejected : answer.id;
}
const basic = (pair: string): string => `Basic ${Buffer.from(pair).toString("base64")}`;

describe("authenticate", () => {
  it("identifies the caller, and exposes only the first 8 digits of the hash", () => {
    assert.deepEqual(store.authenticate({ headers: { authorization: `Bearer ${current}` } }, NOW), {
      tokenId: hashToken(current).slice(0, 8),
      id: "flagger-prod",
      class: "flagger",
      namespaces: ["prod", "stage"],
    });
    const caller = store.authenticate({ headers: { authorization: `Bearer ${previous}` } }, NOW);
    assert.ok(!isRejection(caller) && caller.namespaces === null && mayAccess(caller, "anything"));
  });

  it("accepts a token from every place in which a controller can send it", () => {
    const ways: Record<string, Parameters<typeof store.authenticate>[0]> = {
      bearer: { headers: { authorization: `Bearer ${current}` } },
      "bearer, lower case": { headers: { authorization: `bearer  ${current} ` } },
      "URL password (Flagger webhook)": { headers: { authorization: basic(`aviary:${current}`) } },
      "URL user name alone": { headers: { authorization: basic(`${current}:`) } },
      "Basic without a colon": { headers: { authorization: basic(current) } },
      "X-API-Key (KEDA)": { headers: { "x-api-key": current } },
      "several values, as of headersDistinct": {
        headers: { authorization: ["Bearer stale-1", "Bearer stale-2", `Bearer ${current}`] },
      },
      "the good one first": { headers: { authorization: [`Bearer ${current}`, "Bearer stale"] } },
      "joined by a proxy": { headers: { authorization: `Bearer stale, ${basic("x:y")}, Bearer ${current}` } },
      "a wrong header next to a good one": { headers: { authorization: "Negotiate abc", "x-api-key": [current] } },
    };
    for (const [name, request] of Object.entries(ways)) assert.equal(who(store.authenticate(request, NOW)), "flagger-prod", name);
    assert.equal(who(store.authenticate({ headers: {}, url: `/keda/metrics?lane=a&api_key=${kedaToken}` }, NOW)), "keda");
  });

  it("finds the valid token at the end of Flagger's growing list of headers", () => {
    const stale = Array.from({ length: 600 }, () => `Bearer ${previous}-gone`);
    const many = Array.from({ length: 600 }, (_, index) => `Bearer stale-${index}`);
    assert.equal(who(store.authenticate({ headers: { authorization: [...stale, `Bearer ${current}`] } }, NOW)), "flagger-prod");
    assert.equal(who(store.authenticate({ headers: { authorization: [...many, `Bearer ${current}`] } }, NOW)), "flagger-prod");
  });

  it("rejects everything else with the code of its cause", () => {
    const cases: readonly [string, Parameters<typeof store.authenticate>[0]][] = [
      ["missing_credentials", { headers: {} }],
      ["missing_credentials", { headers: {}, url: "/keda/metrics?lane=a" }],
      ["malformed_credentials", { headers: { authorization: "Negotiate abc" } }],
      ["malformed_credentials", { headers: { authorization: "Bearer" } }],
      ["malformed_credentials", { headers: { "x-api-key": "" } }],
      ["malformed_credentials", { headers: { authorization: `Bearer ${"x".repeat(600)}` } }],
      ["unknown_token", { headers: { authorization: "Bearer wrong" } }],
      ["unknown_token", { headers: { authorization: `Bearer ${current}x` } }],
      ["unknown_token", { headers: { authorization: `Bearer ${hashToken(current)}` } }],
      ["unknown_token", { headers: { authorization: basic(`${current}:wrong`).slice(0, 20) } }],
      ["expired_token", { headers: { authorization: "Bearer gone" } }],
      ["token_in_query", { headers: {}, url: `/x?api_key=${current}` }],
      ["missing_credentials", { headers: {}, url: `/x?api_key=${kedaToken}&${"y".repeat(9_000)}` }],
    ];
    for (const [code, request] of cases)
      assert.equal(who(store.authenticate(request, NOW)), code, JSON.stringify(request).slice(0, 120));
  });

  it("the previous token is accepted until its end and not at it", () => {
    const request = { headers: { authorization: `Bearer ${previous}` } };
    assert.equal(who(store.authenticate(request, NOW + 7 * DAY - 1)), "flagger-prod");
    const rejection = store.authenticate(request, NOW + 7 * DAY);
    assert.deepEqual(rejection, {
      rejected: "expired_token",
      text: "the token flagger-prod has expired",
      tokenId: hashToken(previous).slice(0, 8),
    });
  });

  it("a rejection never echoes the credentials", () => {
    const text = fc.string({ minLength: 6, maxLength: 60 });
    fc.assert(
      fc.property(text, fc.constantFrom("Bearer ", "Basic ", ""), fc.boolean(), (secret, scheme, inQuery) => {
        const headers = inQuery ? {} : { authorization: `${scheme}${secret}`, "x-api-key": secret };
        const answer = store.authenticate({ headers, url: inQuery ? `/x?api_key=${encodeURIComponent(secret)}` : "/x" }, NOW);
        assert.ok(isRejection(answer));
        // Words of the fixed texts cannot be distinguished from an echo.
        if (!/^[a-z ;]+$/i.test(secret)) assert.ok(!answer.text.includes(secret));
      }),
    );
  });

  it("finds a token at every position of the list", () => {
    const tokens = Array.from({ length: 64 }, (_, index) => `token-${index}`);
    const large = createTokenStore(tokens.map((token, index) => entry(token, { id: `id-${index}` })));
    tokens.forEach((token, index) => {
      assert.equal(who(large.authenticate({ headers: { authorization: `Bearer ${token}` } }, NOW)), `id-${index}`);
    });
  });

  it("keeps a token's last use across a reload", () => {
    const own = createTokenStore([entry("a"), entry("b", { id: "b" })]);
    own.authenticate({ headers: { authorization: "Bearer a" } }, NOW + 5);
    own.authenticate({ headers: { authorization: "Bearer unknown" } }, NOW + 6);
    own.replace([entry("a", { notAfter: NOW + DAY }), entry("c", { id: "c" })]);
    assert.deepEqual(
      own.uses().map(({ id, notAfterMs, lastSeenAtMs }) => ({ id, notAfterMs, lastSeenAtMs })),
      [
        { id: "flagger-prod", notAfterMs: NOW + DAY, lastSeenAtMs: NOW + 5 },
        { id: "c", notAfterMs: null, lastSeenAtMs: null },
      ],
    );
    assert.equal(who(own.authenticate({ headers: { authorization: "Bearer b" } }, NOW)), "unknown_token");
  });

  it("generated tokens are long, distinct, and match their hash", () => {
    const made = Array.from({ length: 100 }, generateToken);
    assert.equal(new Set(made.map(({ token }) => token)).size, 100);
    for (const { token, sha256 } of made) {
      assert.match(token, /^avy_[A-Za-z0-9_-]{43}$/);
      assert.equal(hashToken(token), sha256);
    }
  });
});

describe("the token file", () => {
  const good = {
    id: "flagger-prod",
    sha256: hashToken("x"),
    caller: "flagger",
    namespaces: ["prod"],
    notAfter: "2026-11-08T00:00:00Z",
  };

  it("is a list of entries with hashes", () => {
    const parsed = checkConfig("tokens.yaml", [good], tokenFileSchema);
    assert.ok(parsed.ok);
    assert.equal(parsed.value[0]?.notAfter, Date.UTC(2026, 10, 8));
  });

  it("reports every problem of an entry", () => {
    const bad = [{ ...good, sha256: "AB", caller: "argo", notafter: "x", notAfter: "tomorrow", namespaces: [] }];
    const result = checkConfig("tokens.yaml", bad, tokenFileSchema);
    assert.deepEqual(result.ok ? [] : result.problems.map(formatProblem), [
      'tokens.yaml: [0].sha256: found "AB", expected 64 lower-case hex digits',
      'tokens.yaml: [0].caller: found "argo", expected one of "flagger", "rollouts", "keda", "flux", "operator"',
      "tokens.yaml: [0].namespaces: found a list of 0, expected at least 1 entry",
      'tokens.yaml: [0].notAfter: found "tomorrow", expected a time such as 2026-11-01T08:00:00Z',
      'tokens.yaml: [0].notafter: found the unknown key "notafter", expected the known key "notAfter"',
    ]);
  });
});

describe("rotation with an overlap", () => {
  const check = (entries: readonly TokenEntry[], before?: readonly TokenEntry[]): string[] =>
    checkTokenFile({
      source: "t",
      entries,
      nowMs: NOW,
      ...(before === undefined ? {} : { previous: { entries: before, intervalMs: MINUTE } }),
    }).map(formatProblem);

  it("the minimum overlap is one interval plus five minutes; a rotation writes seven days, or more for slow controllers", () => {
    assert.equal(minimumOverlapMs(MINUTE), 6 * MINUTE);
    assert.equal(rotationOverlapMs(MINUTE), 7 * DAY);
    assert.equal(rotationOverlapMs(8 * DAY), 8 * DAY + 9 * MINUTE);
    assert.ok(rotationOverlapMs(MINUTE) >= minimumOverlapMs(MINUTE));
  });

  it("a rotation with a sufficient overlap is accepted", () => {
    const before = [entry("a")];
    assert.deepEqual(check([entry("a", { notAfter: NOW + 7 * DAY }), entry("b")], before), []);
    assert.deepEqual(check([entry("a", { notAfter: NOW + 6 * MINUTE }), entry("b")], before), []);
  });

  it("an overlap below the minimum is rejected with the earliest acceptable time", () => {
    assert.deepEqual(check([entry("a", { notAfter: NOW + 6 * MINUTE - 1 }), entry("b")], [entry("a")]), [
      "t: [0].notAfter: found an overlap of 360 s, expected 2026-11-01T00:06:00.000Z or later; to revoke immediately, remove the entry",
    ]);
    // Shortening a running overlap is the same mistake.
    assert.equal(
      check([entry("a", { notAfter: NOW + MINUTE }), entry("b")], [entry("a", { notAfter: NOW + DAY }), entry("b")]).length,
      1,
    );
  });

  it("an overlap near its end is accepted, and so is an extended one", () => {
    const late = [entry("a", { notAfter: NOW + MINUTE }), entry("b")];
    assert.deepEqual(check(late), []);
    assert.deepEqual(check(late, late), []);
    assert.deepEqual(check([entry("a", { notAfter: NOW + 2 * MINUTE }), entry("b")], late), []);
  });

  it("an immediate revocation is accepted in its two unambiguous forms", () => {
    assert.deepEqual(check([entry("b")], [entry("a"), entry("b")]), []);
    assert.deepEqual(check([entry("a", { notAfter: NOW - 1 }), entry("b")], [entry("a")]), []);
  });

  it("a second rotation is rejected inside the overlap, and accepted after it or with a revocation", () => {
    const third = [entry("a", { notAfter: NOW + DAY }), entry("b", { notAfter: NOW + 7 * DAY }), entry("c")];
    assert.match(check(third).join(), /\[2\]\.id: found a third token of flagger-prod/);
    assert.deepEqual(check([entry("a", { notAfter: NOW - DAY }), ...third.slice(1)]), []);
    assert.deepEqual(check(third.slice(1)), []);
  });

  it("two tokens without an end, one hash twice, one id for two callers: each is reported", () => {
    assert.match(check([entry("a"), entry("b")]).join(), /\[0\]\.notAfter: found two tokens of flagger-prod without an end/);
    assert.match(check([entry("a"), entry("a", { id: "other" })]).join(), /\[1\]\.sha256: found the hash of entry \[0\] again/);
    assert.match(
      check([entry("a", { notAfter: NOW + DAY }), entry("b", { caller: "keda" })]).join(),
      /\[1\]\.caller: found keda for an id that is flagger/,
    );
  });
});

describe("redaction", () => {
  it("removes every generated token from any text", () => {
    for (let index = 0; index < 100; index += 1) {
      const { token } = generateToken();
      for (const text of [token, `x${token}y`, `(${token})`, `{"a":"${token}"}`])
        assert.ok(!redactText(text).includes(token.slice(4)), text);
    }
  });
});
