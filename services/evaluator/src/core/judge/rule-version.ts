/**
 * Versions of the judge's rule. A verdict names the version that it was decided by, and is judged again by that one; live runs use
 * the newest. A record without a version was decided by version 2.
 */
export const RULE_VERSIONS = [2, 3] as const;
export type RuleVersion = (typeof RULE_VERSIONS)[number];

export const CURRENT_RULE: RuleVersion = 3;
export const UNNAMED_RULE: RuleVersion = 2;
