/**
 * Node flags of the collector, which is nearly always idle: on a Mac, memory matters more than speed. Without V8's optimizing
 * compilers and with small heaps it uses 12 MB less, and still reads an access log at half its speed, because most of that is
 * JSON.parse.
 */
export const COLLECTOR_NODE_FLAGS: readonly string[] = ["--optimize-for-size", "--no-opt", "--no-maglev", "--no-sparkplug"];
