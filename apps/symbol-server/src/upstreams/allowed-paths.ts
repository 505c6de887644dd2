// Apart from the rest, which speaks HTTP: the options of every command name it.
/** Where distributions install; what is built in house is elsewhere. */
export const allowedPathsDefault: readonly string[] = [
  '/usr/bin/',
  '/usr/sbin/',
  '/usr/lib',
  '/lib',
  '/bin/',
  '/sbin/',
];
