// Reads what `readelf -h -l -S -n -W` prints, the other tool's account of a file.

export interface ReadelfFacts {
  readonly class: number;
  readonly byteOrder: string;
  readonly type: string;
  readonly machine: string;
  readonly entry: bigint;
  readonly segments: readonly {
    readonly type: string;
    readonly offset: number;
    readonly address: bigint;
    readonly fileSize: number;
    readonly memorySize: bigint;
    readonly flags: string;
  }[];
  readonly sections: readonly {
    readonly name: string;
    readonly type: string;
    readonly address: bigint;
    readonly offset: number;
    readonly size: number;
    readonly flags: string;
  }[];
  /** By table, `.symtab` or `.dynsym`. */
  readonly symbols: Readonly<Record<string, readonly ReadelfSymbol[]>>;
  readonly sectionCount: number;
  readonly namesIndex: number;
  readonly gnu: readonly string[];
  readonly go: readonly string[];
}

export interface ReadelfSymbol {
  readonly value: bigint;
  readonly size: number;
  readonly type: string;
  readonly binding: string;
  readonly section: string;
  readonly name: string;
}

export function parseReadelf(text: string): ReadelfFacts {
  const field = (label: string) => new RegExp(`^\\s+${label}:\\s+(.*)$`, 'm').exec(text)?.[1] ?? '';
  const lastNumber = (label: string) => Number(/(\d+)\)?$/.exec(field(label))?.[1]);
  return {
    class: Number(field('Class').slice(3)),
    byteOrder: field('Data').endsWith('little endian') ? 'little' : 'big',
    type: field('Type').split(' ')[0]!.toLowerCase(),
    machine: field('Machine'),
    entry: BigInt(field('Entry point address')),
    segments: [...text.matchAll(segmentLine)].map(
      ([, type, offset, address, fileSize, memorySize, flags]) => ({
        type: type!,
        offset: Number.parseInt(offset!, 16),
        address: BigInt(`0x${address}`),
        fileSize: Number.parseInt(fileSize!, 16),
        memorySize: BigInt(`0x${memorySize}`),
        flags: flags!.replaceAll(' ', ''),
      }),
    ),
    sections: [...text.matchAll(sectionLine)].map(([, name, type, address, offset, size, flags]) => ({
      name: name!,
      type: type!,
      address: BigInt(`0x${address}`),
      offset: Number.parseInt(offset!, 16),
      size: Number.parseInt(size!, 16),
      flags: flags!.trim(),
    })),
    symbols: Object.fromEntries(
      text
        .split(/^Symbol table '/m)
        .slice(1)
        .map((table) => [table.slice(0, table.indexOf("'")), symbolsIn(table)]),
    ),
    sectionCount: lastNumber('Number of section headers'),
    namesIndex: lastNumber('Section header string table index'),
    gnu: [...new Set([...text.matchAll(/Build ID: ([0-9a-f]+)/g)].map((match) => match[1]!))],
    go: [...new Set([...text.matchAll(/GO BUILDID.*?description data: ([0-9a-f ]+)/gs)].map(goText))],
  };
}

const hex = '0x([0-9a-f]+)';
const segmentLine = new RegExp(`^  (\\S+) +${hex} ${hex} 0x[0-9a-f]+ ${hex} ${hex} ([R ][W ][E ]) `, 'gm');
const sectionLine =
  /^ {2}\[ *\d+\] (\S*) +([A-Z_0-9]+) +([0-9a-f]+) ([0-9a-f]+) ([0-9a-f]+) [0-9a-f]+ ([A-Za-z ]{3,4}) +\d+ +\d+ +\d+$/gm;

const symbolLine = /^ +\d+: ([0-9a-f]+) +(\w+) (\w+) +(\w+) +\w+ +(?:\[.*?\] +)?(\w+) ?(.*)$/gm;

function symbolsIn(table: string): ReadelfSymbol[] {
  return [...table.matchAll(symbolLine)].map(([, value, size, type, binding, section, name]) => ({
    value: BigInt(`0x${value}`),
    size: Number(size),
    type: type!,
    binding: binding!,
    section: section!,
    name: name!,
  }));
}

function goText(match: RegExpMatchArray): string {
  return Buffer.from(match[1]!.replaceAll(' ', ''), 'hex').toString('latin1');
}
