/** A terminal that records what a command writes. */
import { PassThrough } from "node:stream";
import type { CommandIo } from "@aviary/shared/commands/command.ts";

export interface TestTerminal {
  readonly io: CommandIo;
  /** The text written to stdout since the last call. */
  stdout(): string;
  stderr(): string;
}

export function testTerminal(env: NodeJS.ProcessEnv = {}, signal: AbortSignal = new AbortController().signal): TestTerminal {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const textOf = (stream: PassThrough): string => (stream.read() as Buffer | null)?.toString() ?? "";
  return { io: { stdout, stderr, env, signal }, stdout: () => textOf(stdout), stderr: () => textOf(stderr) };
}
