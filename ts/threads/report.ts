/** How many threads there are, and why not more. */
export interface Threads {
  /** Threads that a call is shared by, at most, that of the caller among them. */
  readonly threads: number;
  /** Those that could help now, that of the caller among them: others are yet to begin. */
  readonly ready: number;
  /** Why there are no more; `null` where it is only that no more were asked for. */
  readonly reason: string | null;
}
