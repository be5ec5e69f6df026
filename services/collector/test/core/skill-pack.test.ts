import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { hashLines } from "@aviary/shared/contract/ids.ts";
import { skillPack } from "../../src/core/skill-pack.ts";

describe("skill packs", () => {
  const sha = (digit: string): string => digit.repeat(64);
  const root = (name: string, lines: readonly string[]) => ({ name, hash: hashLines(lines), lines });
  const before = [
    `f mail/SKILL.md ${sha("1")}`,
    `x mail/run ${sha("2")}`,
    `f web/SKILL.md ${sha("3")}`,
    "d empty",
    "l alias web",
  ];
  it("with one root have its hash, and count directories with a SKILL.md", () => {
    const { body } = skillPack([root("managed", before)], null);
    assert.deepEqual(body, { pack_hash: hashLines(before), count: 2, changed: [] });
  });
  it("list changed, added and removed skills", () => {
    const { state } = skillPack([root("managed", before)], null);
    const after = [
      `f mail/SKILL.md ${sha("1")}`,
      `f mail/run ${sha("2")}`,
      `f new skill/SKILL.md ${sha("4")}`,
      "d empty",
      "l alias mail",
    ];
    assert.deepEqual(skillPack([root("managed", after)], state).body.changed, ["alias", "mail", "new skill", "web"]);
  });
  it("with several roots have one hash, independent of their order", () => {
    const roots = [root("a", before), root("b", [`f web/SKILL.md ${sha("5")}`])];
    const { body } = skillPack(roots, null);
    assert.equal(body.pack_hash, skillPack([...roots].reverse(), null).body.pack_hash);
    assert.equal(body.count, 3);
    assert.notEqual(body.pack_hash, skillPack([root("b", before), root("a", roots[1]!.lines)], null).body.pack_hash);
  });
});
