/** Every benchmark: one file each, loaded only when it is run. */
import type { BenchmarkEntry } from "./benchmark.ts";

export const BENCHMARKS: readonly BenchmarkEntry[] = [
  {
    name: "evaluator",
    about: "reading and applying signals, against a consumer that discards them",
    targets: ["P4", "P5"],
    load: () => import("./evaluator.ts"),
  },
  {
    name: "publish",
    about: "the pipelined publisher, against js.publish",
    targets: ["P6"],
    load: () => import("./publish.ts"),
  },
  {
    name: "verdict",
    about: "from the end of a window to the served verdict, against a request over the same broker",
    targets: ["P7"],
    load: () => import("./verdict.ts"),
  },
  {
    name: "shim",
    about: "answering controllers, against bare node:http, and against itself without signals",
    targets: ["P1", "P3"],
    load: () => import("./shim.ts"),
  },
  {
    name: "window",
    about: "one verdict of the judge, against one merge of two histograms",
    targets: ["P8"],
    load: () => import("./window.ts"),
  },
  {
    name: "footprint",
    about: "the collector's memory, CPU and bytes, against a bare NATS client and Prometheus text",
    targets: ["P14", "P16"],
    load: () => import("./footprint.ts"),
  },
];
