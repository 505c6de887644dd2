// `npm run bundle`: the agent as JavaScript in apps/agent-client/dist/, two files that need Node 24 and nothing else: no
// node_modules, no type stripping. It is what a fleet installs: a process that never compiled TypeScript, nor read 40
// files, is 20 MB smaller for as long as it runs.
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const agent = fileURLToPath(new URL('../apps/agent-client/', import.meta.url));
const launcher = `#!/usr/bin/env node
import { enableCompileCache } from 'node:module';
enableCompileCache();
await import('./main.mjs');
`;

/** Bundles the agent into `directory`; resolves to the path of its program. */
export async function bundleAgent(directory = join(agent, 'dist')): Promise<string> {
  rmSync(directory, { recursive: true, force: true });
  const bundle = await rolldown({ input: join(agent, 'src/main.ts'), platform: 'node' });
  await bundle.write({
    file: join(directory, 'main.mjs'),
    format: 'esm',
    minify: true,
    codeSplitting: false,
  });
  await bundle.close();
  const program = join(directory, 'symkeep-agent.mjs');
  writeFileSync(program, launcher);
  chmodSync(program, 0o755);
  return program;
}

if (import.meta.main) process.stdout.write(`${await bundleAgent()}\n`);
