/**
 * The skills of a gateway: `treeHash` of the roots managed by promotions. Configure a root as promotions publish it
 * (`<target>/current`). Exclude bundled skills, which the gateway's version determines, and workshop skills, which change by
 * design. A file is hashed again if its time or size changed, and every file hourly.
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
  create({ roots }, world) {
    const cache: TreeHashCache = new Map();
    let rehashAtMs = world.clock.monotonicMs() + REHASH_MS;
    return sourceOf(async (_tick, signal): Promise<readonly SkillRoot[]> => {
      if (world.clock.monotonicMs() >= rehashAtMs) {
        cache.clear();
        rehashAtMs = world.clock.monotonicMs() + REHASH_MS;
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
