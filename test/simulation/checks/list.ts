/** All checkers; the ones whose findings explain the most come first. */
import { absenceIsNeverPass } from "./absence.ts";
import { everyRequestIsAccountedFor } from "./accounts.ts";
import type { InvariantCheck } from "./check.ts";
import { checkpointsFollowEffects, restartIsReplay } from "./checkpoint.ts";
import { oneVerdictInEveryDialect } from "./dialects.ts";
import { failsLatch, runsEnd } from "./latch.ts";
import { collectorsLoseNothing, nothingFalls, onlyTheLeaderPerforms } from "./performers.ts";
import { sameEffects, sameVerdicts } from "./same-log.ts";

export const CHECKS: readonly InvariantCheck[] = [
  nothingFalls,
  checkpointsFollowEffects,
  absenceIsNeverPass,
  everyRequestIsAccountedFor,
  failsLatch,
  oneVerdictInEveryDialect,
  onlyTheLeaderPerforms,
  restartIsReplay,
  sameVerdicts,
  sameEffects,
  runsEnd,
  collectorsLoseNothing,
];
