/** One subcommand of `aviary`. Verbs live with their service; the command line only lists them. */

/** What a verb may touch of the world around it. */
export interface CommandIo {
  stdout: NodeJS.WritableStream;
  stderr: NodeJS.WritableStream;
  env: NodeJS.ProcessEnv;
  /** Aborts when the user gives up. */
  signal: AbortSignal;
}

export interface Command {
  readonly name: string;
  /** One line, for the list of verbs. */
  readonly summary: string;
  /** How to call it, without `aviary`. */
  readonly usage: string;
  /** Resolves to the exit code. */
  run(args: readonly string[], io: CommandIo): Promise<number>;
}
