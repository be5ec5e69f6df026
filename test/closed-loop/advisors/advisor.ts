/** An advisor answers the controllers and the promoter: Aviary, or one of the rules it is compared with. */
import type { ControlContent } from "@aviary/shared/contract/control.ts";
import type { CallerClass } from "@aviary/shared/contract/fleet.ts";
import type { VerdictBody } from "@aviary/shared/contract/verdict.ts";
import type { Product } from "../../simulation/product.ts";
import type { Response } from "../actors/flagger.ts";
import type { Mac } from "../world/mac.ts";
import type { ReleasePlan } from "../world/releases.ts";
import type { World } from "../world/world.ts";

export interface Advisor {
  /** Answers one HTTP request; undefined without an answer in time. */
  ask(caller: CallerClass, path: string, query: string, body: string): Promise<Response | undefined>;
  /** Whether a release may be installed on this Mac now. */
  mayInstall(mac: Mac, release: ReleasePlan | undefined): boolean;
  /** Whether it claims to be measuring something, during which it may limit the lane. */
  runOpen(): boolean;
  /** What an operator reads; undefined where there is nothing to read. */
  status(): VerdictBody | undefined;
  /** A command of an operator; does nothing where there is nothing to command. */
  operate(content: ControlContent): void;
  close(): Promise<void>;
}

export const ADVISORS = [
  "aviary",
  "literal",
  "flagger-thresholds",
  "argo-thresholds",
  "always-yes",
  "always-hold",
  "oracle",
] as const;
export type AdvisorName = (typeof ADVISORS)[number];

export interface AdvisorContext {
  readonly product: Product;
  readonly world: World;
}
