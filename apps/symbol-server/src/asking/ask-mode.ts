// Apart from the rest, which knows the catalog: the options of every command name it.
export const askModes = ['wanted', 'all', 'never'] as const;
/** `wanted`: for what was asked for in vain; `all`: for whatever has no symbols. */
export type AskMode = (typeof askModes)[number];
