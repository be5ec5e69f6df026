/** Text for a terminal: aligned columns, as kubectl prints them, and wrapped paragraphs. */

const GAP = "   ";

/** Lines of text: the header, then one line per row. Empty cells in the last column leave no trailing spaces. */
export function tableLines(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  return [header, ...rows].map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join(GAP)
      .trimEnd(),
  );
}

/**
 * Breaks a text between words into lines of at most `width` characters; all but the first start with `indent` and have room for
 * 20 more.
 */
export function wrapText(text: string, width: number, indent: string): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/(?<=\S) /)) {
    const limit = Math.max(width - (lines.length === 0 ? 0 : indent.length), 20);
    if (line !== "" && line.length + 1 + word.length > limit) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line].map((text, index) => (index === 0 ? text : `${indent}${text}`));
}

/** The columns of a terminal; infinite for a file or a pipe. */
export function columnsOf(stream: NodeJS.WritableStream): number {
  const { isTTY, columns } = stream as Partial<NodeJS.WriteStream>;
  return isTTY === true && columns !== undefined ? columns : Number.POSITIVE_INFINITY;
}
