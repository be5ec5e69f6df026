/**
 * Limits on Aviary's damage, for guarantees that no single world can prove. They were measured in the first worlds of each theme
 * and leave room for other histories. Lower a limit when its figure falls.
 */
import type { Theme } from "../world/themes.ts";
import type { Damage } from "./damage.ts";

export type LimitName = "bad-advanced" | "bad-requests-after-known" | "healthy-rolled-back" | "lane-starved-minutes";

interface Limit {
  readonly theme: Theme;
  readonly name: LimitName;
  readonly figure: (damage: Damage) => number;
  readonly most: number;
}

/** The worlds to which the limits apply: the first ones of each theme. */
export const LIMITED_WORLDS: Readonly<Record<Theme, number>> = { any: 80, incident: 40, late: 40, low: 10 };

const rolledBack = ({ healthy, healthyRolledBack }: Damage): number => healthyRolledBack / healthy;

const advanced = ({ bad, badAdvancedAfterReadable }: Damage): number => badAdvancedAfterReadable / bad;

const LIMITS: readonly Limit[] = [
  { theme: "any", name: "bad-advanced", figure: advanced, most: 0.02 },
  { theme: "any", name: "bad-requests-after-known", figure: (damage) => damage.badOnTrialAfterKnown / damage.bad, most: 250 },
  { theme: "any", name: "healthy-rolled-back", figure: rolledBack, most: 0.15 },
  { theme: "any", name: "lane-starved-minutes", figure: ({ worlds, laneStarvedMin }) => laneStarvedMin / worlds, most: 18 },
  { theme: "incident", name: "healthy-rolled-back", figure: rolledBack, most: 0.05 },
  { theme: "late", name: "bad-advanced", figure: advanced, most: 0.03 },
];

/** The exceeded limits of a theme's worlds, one sentence each. */
export function exceededLimits(theme: Theme, damage: Damage): { readonly name: LimitName; readonly text: string }[] {
  return LIMITS.filter((limit) => limit.theme === theme && !(limit.figure(damage) <= limit.most)).map(
    ({ name, figure, most }) => ({
      name,
      text: `${name} is ${figure(damage).toFixed(3)}, at most ${most} is allowed (theme ${theme})`,
    }),
  );
}
