/** A first-in, first-out queue: `shift` takes constant time, unlike that of a long array. */

export interface Fifo<T> {
  readonly size: number;
  /** The oldest entry. */
  readonly first: T | undefined;
  push(entry: T): void;
  shift(): T | undefined;
  /** Removes all entries and returns them. */
  clear(): T[];
}

/** The array is shortened when this many entries at its start have been taken. */
const COMPACT_AT = 4096;

export function createFifo<T>(): Fifo<T> {
  let entries: T[] = [];
  let head = 0;
  return {
    get size() {
      return entries.length - head;
    },
    get first() {
      return entries[head];
    },
    push(entry) {
      entries.push(entry);
    },
    shift() {
      if (head >= entries.length) return undefined;
      const entry = entries[head] as T;
      head += 1;
      if (head === entries.length || head >= COMPACT_AT) {
        entries = entries.slice(head);
        head = 0;
      }
      return entry;
    },
    clear() {
      const rest = entries.slice(head);
      entries = [];
      head = 0;
      return rest;
    },
  };
}
