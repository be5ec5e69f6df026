/** Subject filters with NATS semantics: `*` matches one token, a final `>` one or more. */

/** Whether `filter` selects `subject`. */
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

/** Whether any filter selects the subject; an empty list selects everything. */
export function matchesAny(filters: readonly string[], subject: string): boolean {
  return filters.length === 0 || filters.some((filter) => matches(filter, subject));
}
