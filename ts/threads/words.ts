/**
 * The words by which threads agree on who does what, in shared memory of their own.
 *
 * A *job* is a call's walk that was cut into parts. Whoever takes one says so first, a *claim*, in
 * the word that says which are left: so each is done once, and the caller waits for none but those
 * that others have claimed. Threads that are late, asleep or gone need nothing.
 *
 * The caller takes the first that is left, others the last: so each comes back to the end of a
 * tensor that lies in its processor's caches.
 */

/** Places of words; what is written by different threads lies on different cache lines. */
export enum At {
  /**
   * The parts that nobody has claimed: in the last eight bits the one behind the last, in those
   * before the first; before these the job's number.
   */
  JOB = 0,
  /** The job's address. */
  ADDRESS = 1,
  /** Parts that others have done. */
  DONE = 16,
  /** Whether one of them trapped. */
  TRAPPED = 17,
  /** Never changes: to wait at for a time. */
  NOTHING = 32,
  /** What each hand is doing, a line each: {@link Doing}. */
  HANDS = 48,
}

/** Words of a cache line: from one hand's to the next. */
export const LINE = 16;

/** What a thread is doing, in the order of its life. */
export enum Doing {
  /** There is none. */
  NOTHING,
  /** It was made, or told to stay while it was ending, and has said nothing yet. */
  STARTING,
  /** It looks for parts all the time, or does one. */
  AWAKE,
  /** It waits to be notified of a job. */
  ASLEEP,
  /** It was told to end. */
  ENDING,
  /** It did: its number can be given to another. */
  ENDED,
}

/** Hands at most, the caller's own among them: as many as blocks of a walk. */
export const MOST_HANDS = 16;

/** Parts of a job at most, by the bits that {@link At.JOB} has for them; the kernel makes 16. */
export const MOST_PARTS = 255;

/** Bytes of the words. */
export const WORDS_BYTES = 4 * (At.HANDS + MOST_HANDS * LINE);
