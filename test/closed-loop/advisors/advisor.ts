/** An advisor answers the controllers and the promoter. It is Aviary, or one of the rules Aviary is compared with. */
import type { ControlContent } from "@aviary/shared/contract/control.ts";
import type { CallerClass } from "@aviary/shared/contract/fleet.ts";
import type { VerdictBody } from "@aviary/shared/contract/verdict.ts";
import type { Product } from "../../simulation/product.ts";
import type { Response } from "../actors/flagger.ts";
import type { Mac } from "../world/mac.ts";
import type { ReleasePlan } from "../world/releases.ts";
import type { World } from "../world/world.ts";

export interface Advisor {
  /** Answers one HTTP request; undefined if there is no response in time. */
  request(caller: CallerClass, path: string, query: string, body: string): Promise<Response | undefined>;
  /** Whether a release may be installed on this Mac now. */
  mayInstall(mac: Mac, release: ReleasePlan | undefined): boolean;
  /** Whether it reports an open run, during which it may limit the lane. */
  runOpen(): boolean;
  /** The status that an operator reads; undefined if there is none. */
  status(): VerdictBody | undefined;
  /** Performs an operator's command; no effect on an advisor without runs. */
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
