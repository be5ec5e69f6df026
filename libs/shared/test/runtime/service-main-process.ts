/** A service process for service-main.test.ts; its argument selects how its start fails. */
import { ConfigError } from "../../src/runtime/config.ts";
import { serviceEnv } from "../../src/runtime/service-env.ts";
import { serviceMain } from "../../src/runtime/service-main.ts";

await serviceMain({
  name: "probe",
  env: serviceEnv(0, {}),
  load: async () => {
    if (process.argv[2] === "bad files")
      throw new ConfigError([{ source: "probe.yaml", line: 3, path: "az", found: "7", expected: "a name" }]);
    return {};
  },
  start: async ({ log, opened }) => {
    opened.add({ [Symbol.dispose]: () => log.info("the first part is closed") });
    if (process.argv[2] === "bad part") throw new Error("no such part");
  },
});
