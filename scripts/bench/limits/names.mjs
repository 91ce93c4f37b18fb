/** What ours is told beside, by the names in results. Reports and targets ask for them by these. */

export const MEMORY_COPY = "memory.copy";
export const BARE_LOOPS = "bare loops";
/** Batch norm without what varies it. */
export const NORM_ALONE = "norm alone";
/** This package without threads, where others have several. */
export const ONE_THREAD = "batchnorm-wasm on one thread";
