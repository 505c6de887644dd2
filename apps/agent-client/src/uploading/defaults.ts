// How files are sent unless told otherwise.

/** Of files, in bytes per second: a debug file of 100 MB takes 25 s, and no network notices. */
export const uploadRateDefault = 4 * 1024 * 1024;
/** Debug files of nearly everything but browsers are smaller. */
export const uploadMaxDefault = 1024 ** 3;
