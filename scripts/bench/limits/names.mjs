/** The two limits, by the names in results. Reports and targets ask for them by these. */

export const MEMORY_COPY = "memory.copy";
export const BARE_LOOPS = "bare loops";
/** Batch norm without what varies it. */
export const NORM_ALONE = "norm alone";
