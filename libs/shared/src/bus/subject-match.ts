/** Subject filters as NATS reads them: `*` stands for one token, a final `>` for one or more. */

/** Whether `subject` is selected by `filter`. */
export function matches(filter: string, subject: string): boolean {
  if (filter === subject || filter === ">") return true;
  const wanted = filter.split(".");
  const tokens = subject.split(".");
  for (let index = 0; index < wanted.length; index += 1) {
    const token = wanted[index];
    if (token === ">") return index === wanted.length - 1 && tokens.length > index;
    if (index >= tokens.length || (token !== "*" && token !== tokens[index])) return false;
  }
  return wanted.length === tokens.length;
}

/** Whether one of the filters selects the subject; no filters select everything. */
export function matchesAny(filters: readonly string[], subject: string): boolean {
  return filters.length === 0 || filters.some((filter) => matches(filter, subject));
}
