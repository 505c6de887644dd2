// Paths in the file system of another process. The kernel follows an absolute link from our own root, not from the one of
// the process under whose /proc/<pid>/root it stands, so links are followed by hand.
import type { HostFiles } from '../discovery/host-files.ts';

/** As the kernel's own bound. */
const linksMax = 40;

/** The path without links, under `root`; undefined if links go round in circles. What is not there is no link. */
export function pathInRoot(files: HostFiles, root: string, path: string): string | undefined {
  let open = partsOf(path);
  let done: string[] = [];
  for (let links = 0; open.length > 0; ) {
    const [part, ...rest] = open;
    open = rest;
    if (part === '..') done.pop();
    if (part === '..' || part === '.') continue;
    const target = linkAt(files, [root, ...done, part].join('/'));
    if (target === undefined) {
      done.push(part!);
      continue;
    }
    if (++links > linksMax) return undefined;
    if (target.startsWith('/')) done = [];
    open = [...partsOf(target), ...rest];
  }
  return [root, ...done].join('/');
}

function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '');
}

function linkAt(files: HostFiles, path: string): string | undefined {
  try {
    return files.readLink(path);
  } catch (error) {
    if (typeof (error as NodeJS.ErrnoException).code === 'string') return undefined;
    throw error;
  }
}
