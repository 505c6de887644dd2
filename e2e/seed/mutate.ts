// Loads one module with one line of it changed: `node --import ./mutate.ts`, with the change in the environment. So a test
// can switch a mechanism off in the very code that ships, and see what breaks.
import { registerHooks } from 'node:module';

const { file, from, to } = JSON.parse(process.env.MUTATION ?? '{}') as {
  file: string;
  from: string;
  to: string;
};

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context);
    if (!url.endsWith(file)) return loaded;
    const source = String(loaded.source);
    if (source.split(from).length !== 2) throw new Error(`${file} does not have exactly one "${from}"`);
    return { ...loaded, source: source.replace(from, to) };
  },
});
