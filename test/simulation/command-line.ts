/** The common parts of the commands of simulation and closed loop. */

/** An option with a whole number. @throws RangeError with the usage */
export function wholeNumber(name: string, text: string | undefined, otherwise: number, usage: string): number {
  if (text === undefined) return otherwise;
  if (!/^\d{1,9}$/.test(text)) throw new RangeError(`--${name} ${text}: expected a whole number\n${usage}`);
  return Number(text);
}

/** Runs a command and sets its exit code: 2 for a usage error, 1 for any other. */
export async function runCommand(main: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await main();
  } catch (error) {
    const isUsage = error instanceof RangeError || (error as NodeJS.ErrnoException).code?.startsWith("ERR_PARSE_ARGS");
    console.error(isUsage ? (error as Error).message : error);
    process.exitCode = isUsage ? 2 : 1;
  }
}
