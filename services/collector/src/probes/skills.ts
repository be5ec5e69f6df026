/**
 * Skills of a gateway: the tree hash of the roots that promotions manage, named as promotions publish them (`<target>/current`). Exclude bundled
 * skills, which follow the gateway's version, and workshop skills, which change by design. Files are rehashed on a changed time or size, and hourly.
 * While a tree cannot be hashed, the gateway's skill hash is unknown: an entry that is rejected must not hide a change beside it.
 */
import { hashTree, type TreeHashCache } from "@aviary/shared/fs/tree-hash.ts";
import { z } from "zod";
import { type SkillRoot, type SkillState, skillPack } from "../core/skill-pack.ts";
import { defineProbe, nameKey, sourceOf, timing } from "../probe.ts";

const config = z.strictObject({
  ...timing("5m", "60s"),
  /** Name → directory. */
  roots: z
    .record(nameKey, z.string().min(1))
    .refine((roots) => Object.keys(roots).length >= 1 && Object.keys(roots).length <= 16, { error: "1 to 16 roots" }),
});

const REHASH_MS = 3_600_000;
const initial: SkillState = null;

export const skills = defineProbe({
  name: "skills",
  kind: "skills",
  configSchema: config,
  coversPeriod: false,
  initial: initial as SkillState,
  unknownWhileFailing: { skillHash: null },
  create({ roots }, context) {
    const cache: TreeHashCache = new Map();
    let rehashAtMs = context.clock.monotonicMs() + REHASH_MS;
    return sourceOf(async (_tick, signal): Promise<readonly SkillRoot[]> => {
      if (context.clock.monotonicMs() >= rehashAtMs) {
        cache.clear();
        rehashAtMs = context.clock.monotonicMs() + REHASH_MS;
      }
      const found: SkillRoot[] = [];
      for (const [name, path] of Object.entries(roots)) found.push({ name, ...(await hashTree(path, { cache, signal })) });
      return found;
    });
  },
  parse(raw: readonly SkillRoot[], state) {
    const { body, state: next } = skillPack(raw, state);
    return { bodies: [body], state: next, learned: { skillHash: body.pack_hash } };
  },
});
