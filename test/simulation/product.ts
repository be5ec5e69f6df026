/** The code under simulation, loaded from its directory or from a modified copy. */
import { registerHooks } from "node:module";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

type Evaluator = typeof import("../../services/evaluator/src/service.ts");
type Setup = typeof import("../../services/evaluator/src/core/resolved-config.ts");
type State = typeof import("../../services/evaluator/src/core/state.ts");
type Step = typeof import("../../services/evaluator/src/core/reducer.ts");
type Checkpoint = typeof import("../../services/evaluator/src/core/checkpoint.ts");
type Inputs = typeof import("../../services/evaluator/src/io/inputs.ts");
type View = typeof import("../../services/shim/src/view.ts");
type Outbox = typeof import("../../services/shim/src/control-writer.ts");
type Callers = typeof import("../../services/shim/src/auth/caller-roles.ts");
type Flagger = typeof import("../../services/shim/src/adapters/flagger.ts");
type Rollouts = typeof import("../../services/shim/src/adapters/argo-rollouts.ts");
type Keda = typeof import("../../services/shim/src/adapters/keda.ts");
type CollectorOutbox = typeof import("../../services/collector/src/spool/outbox.ts");
type Envelope = typeof import("../../services/collector/src/core/envelope.ts");

export interface Product
  extends Pick<Evaluator, "startEvaluator">,
    Pick<Setup, "resolveConfig">,
    Pick<State, "createState">,
    Pick<Step, "reduce">,
    Pick<Checkpoint, "encodeCheckpoint" | "decodeCheckpoint">,
    Pick<Inputs, "createInputReader">,
    Pick<View, "followView">,
    Pick<Outbox, "createControlWriter">,
    Pick<Callers, "createCallerRoles">,
    Pick<Flagger, "FLAGGER_ROUTES">,
    Pick<Rollouts, "ROLLOUTS_ROUTES">,
    Pick<Keda, "KEDA_ROUTES">,
    Pick<CollectorOutbox, "openOutbox">,
    Pick<Envelope, "makeSignal"> {}

/** Services that can be simulated from a modified copy. */
export type Service = "evaluator" | "shim" | "collector";

/** The directory of a service's code. */
export const sourceOf = (service: Service): string => fileURLToPath(new URL(`../../services/${service}/src`, import.meta.url));

const PARTS: Readonly<Record<Service, readonly string[]>> = {
  evaluator: ["service.ts", "core/resolved-config.ts", "core/state.ts", "core/reducer.ts", "core/checkpoint.ts", "io/inputs.ts"],
  shim: [
    "view.ts",
    "control-writer.ts",
    "auth/caller-roles.ts",
    "adapters/flagger.ts",
    "adapters/argo-rollouts.ts",
    "adapters/keda.ts",
  ],
  collector: ["spool/outbox.ts", "core/envelope.ts"],
};

/** Compression runs in threads with their own timing; here it is synchronous, so that a seed determines its history. */
const ZLIB = new URL("zlib.ts", import.meta.url).href;
registerHooks({
  resolve: (specifier, context, next) =>
    specifier === "node:zlib" && context.parentURL?.endsWith("/io/checkpoint.ts")
      ? { url: ZLIB, shortCircuit: true }
      : next(specifier, context),
});

/** Loads the product; a service listed in `copies` is loaded from that directory, which has the layout of the service's own. */
export async function loadProduct(copies: Partial<Record<Service, string>> = {}): Promise<Product> {
  const parts = (["evaluator", "shim", "collector"] as const).flatMap((service) =>
    PARTS[service].map((part) => join(copies[service] ?? sourceOf(service), part)),
  );
  const modules = await Promise.all(parts.map((path) => import(pathToFileURL(path).href)));
  return Object.assign({}, ...modules) as Product;
}
