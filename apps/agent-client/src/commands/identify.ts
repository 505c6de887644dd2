// symkeep-agent identify: all IDs of files, as the agent would report them.
import { debugIdOf, fileSource, type Identity, identify } from '@symkeep/elf';
import { defineCommand } from '@symkeep/options';
import { canonicalIdOf, formatAddress } from '@symkeep/protocol';
import { nodeFiles } from '../discovery/host-files.ts';
import { executableOf } from '../discovery/live-file.ts';
import { outputOptions } from '../options.ts';

export const identifyCommand = defineCommand({
  name: 'identify',
  describe: 'print all IDs of ELF files',
  args: '<file...>',
  options: outputOptions,
  more: 'Example:\n  symkeep-agent identify /bin/bash',
  run: async ({ json }, files) => {
    let failed = false;
    for (const file of files) {
      try {
        const identity = identifyFile(file);
        process.stdout.write(json ? `${JSON.stringify(jsonOf(file, identity))}\n` : textOf(file, identity));
      } catch (error) {
        failed = true;
        process.stderr.write(`symkeep-agent: ${file}: ${(error as Error).message}\n`);
      }
    }
    return failed ? 1 : 0;
  },
});

function identifyFile(path: string): Identity {
  if (!nodeFiles.stat(path).regular) throw new Error('not a regular file');
  const file = nodeFiles.open(path);
  try {
    const size = Number(file.stat().size);
    return identify(fileSource(size, (buffer, offset) => file.readAt(buffer, offset)));
  } finally {
    file.close();
  }
}

function jsonOf(file: string, identity: Identity) {
  const { gnu, go, htlhash, arch, type, size, load, rejected, damage } = identity;
  return {
    file,
    id: canonicalIdOf(executableOf(identity, file).ids),
    ids: { gnu, htlhash, go },
    ...(gnu === undefined ? {} : { debugId: debugIdOf(gnu, identity.byteOrder === 'little') }),
    ...{ arch, type, class: identity.class, byteOrder: identity.byteOrder, size },
    load: load.map(([address, bytes]) => [formatAddress(address), formatAddress(bytes)]),
    ...(rejected.length === 0 ? {} : { rejected }),
    ...(damage.length === 0 ? {} : { damage: damage.map(({ code, message }) => ({ code, message })) }),
  };
}

function textOf(file: string, identity: Identity): string {
  const { id, ids, debugId, load, rejected, damage } = jsonOf(file, identity);
  const rows = [
    ['ID', id],
    ['GNU build ID', ids.gnu],
    ['htlhash', ids.htlhash],
    ['Go build ID', ids.go],
    ['debug ID', debugId],
    [
      'file',
      `${identity.arch} ${identity.type}, ${identity.class} bit ${identity.byteOrder}-endian, ${identity.size} bytes`,
    ],
    ['code at', load.map(([address, bytes]) => `${address}+${bytes}`).join(' ')],
    ...(rejected ?? []).map(({ kind, value, reason }) => ['no key', `${kind} ${value}: ${reason}`]),
    ...(damage ?? []).map(({ message }) => ['damaged', message]),
  ].filter((row): row is [string, string] => row[1] !== undefined && row[1] !== '');
  return `${file}\n${rows.map(([name, value]) => `  ${name.padEnd(13)} ${value}\n`).join('')}`;
}
