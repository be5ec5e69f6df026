/** Preloaded by a test: prints on stderr which packages of `node_modules` a process imported. */
import { registerHooks } from "node:module";

const packages = new Set();
registerHooks({
  load(url, context, nextLoad) {
    const name = /\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url)?.[1];
    if (name !== undefined) packages.add(name);
    return nextLoad(url, context);
  },
});
process.on("exit", () => process.stderr.write(`${[...packages].join("\n")}\n`));
