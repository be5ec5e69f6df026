/**
 * Flags of Node under which the collector is shipped: it is idle nearly always, and memory matters more on a Mac than speed. Without V8's
 * compilers and with small heaps it takes 12 MB less, and still reads an access log at half its speed: most of that is JSON.parse.
 */
export const COLLECTOR_NODE_FLAGS: readonly string[] = ["--optimize-for-size", "--no-opt", "--no-maglev", "--no-sparkplug"];
