import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { howToInstall, locateServer, parseAptSources, SERVER_NAMES, serverCandidates } from "../../src/testing/fetch-servers.ts";

const folder = mkdtempSync(join(tmpdir(), "aviary-servers-"));
after(() => rmSync(folder, { recursive: true, force: true }));

function program(...path: string[]): string {
  const file = join(folder, ...path);
  mkdirSync(join(file, ".."), { recursive: true });
  writeFileSync(file, "#!/bin/sh\n");
  chmodSync(file, 0o755);
  return file;
}

describe("finding a server", () => {
  test("prefers the variable, then the folders of PATH in their order, then Homebrew", () => {
    const named = program("named", "my-nats");
    const first = program("first", "nats-server");
    const second = program("second", "nats-server");
    const brewed = program("brew", "bin", "nats-server");
    const env = { PATH: `${join(folder, "first")}:${join(folder, "second")}`, HOMEBREW_PREFIX: join(folder, "brew") };
    assert.equal(locateServer("nats-server", { ...env, NATS_SERVER_BIN: named }), named);
    assert.equal(locateServer("nats-server", { ...env, AVIARY_NATS_SERVER_BIN: named, NATS_SERVER_BIN: "/nowhere" }), named);
    const found = serverCandidates("nats-server", env);
    assert.deepEqual(found.slice(0, 2), [first, second]);
    assert.ok(found.includes(brewed));
  });

  test("accepts valkey for redis", () => {
    const valkey = program("valkey", "valkey-server");
    assert.ok(serverCandidates("redis-server", { PATH: join(folder, "valkey") }).includes(valkey));
  });

  test("a variable that does not point to an executable is reported by variable and path", () => {
    assert.throws(
      () => locateServer("caddy", { CADDY_BIN: "/nowhere/caddy" }),
      /CADDY_BIN is \/nowhere\/caddy, which is not an executable file/,
    );
    mkdirSync(join(folder, "odd", "caddy"), { recursive: true });
    writeFileSync(join(folder, "odd", "rsync"), "");
    assert.equal(serverCandidates("caddy", { PATH: join(folder, "odd") }).includes(join(folder, "odd", "caddy")), false);
    assert.equal(serverCandidates("rsync", { PATH: join(folder, "odd") }).includes(join(folder, "odd", "rsync")), false);
  });

  test("explains how to install every server", () => {
    for (const name of SERVER_NAMES)
      assert.match(howToInstall(name), new RegExp(`^${name} was not found: "brew install .*fetch-servers.ts ${name}.*_BIN`));
  });
});

describe("package sources", () => {
  test("are parsed from one-line lists", () => {
    const text =
      "# deb http://mirror.example/debian old main\ndeb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main contrib\ndeb-src http://mirror.example/debian bookworm main\n";
    assert.deepEqual(parseAptSources(text, false), [
      {
        line: "deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main contrib",
        uri: "http://mirror.example/debian",
        options: "[arch=amd64 signed-by=/k.gpg]",
      },
    ]);
  });

  test("are parsed from stanzas, one entry per suite; disabled ones and inline keys are skipped", () => {
    const text = [
      "Types: deb deb-src\n# a comment\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /usr/share/keyrings/k.gpg",
      "Types: deb\nEnabled: no\nURIs: http://off.example/debian\nSuites: a\nComponents: main",
      "Types: deb\nURIs: http://inline.example/debian\nSuites: a\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .",
      "Types: deb-src\nURIs: http://source.example/debian\nSuites: a\nComponents: main",
    ].join("\n\n");
    assert.deepEqual(
      parseAptSources(text, true).map((source) => source.line),
      ["bookworm", "bookworm-updates"].map(
        (suite) => `deb [signed-by=/usr/share/keyrings/k.gpg] http://mirror.example/debian ${suite} main`,
      ),
    );
  });
});
