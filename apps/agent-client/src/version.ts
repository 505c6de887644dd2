// The version in this package's package.json: what `--version` prints and every report carries.
import manifest from '../package.json' with { type: 'json' };

export const { version } = manifest;
