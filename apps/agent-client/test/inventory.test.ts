import { htlhashId } from '@symkeep/protocol';
import { describe, expect, it } from 'vitest';
import { Inventory } from '../src/inventory.ts';
import { executable } from './memory-server.ts';

const file = (n: number, identity = `file ${n}`, name = `/usr/lib/lib${n}.so`) => ({
  identity,
  executable: executable(n, { name }),
  processes: 1,
});
const none: [] = [];

describe('an inventory', () => {
  it('is by content: many files are one executable, which lives as long as one of them', () => {
    const inventory = new Inventory();
    const change = inventory.apply({ appeared: [file(1, 'a'), file(1, 'b')], vanished: none });
    expect(change.appeared).toHaveLength(1);
    expect(inventory.apply({ appeared: none, vanished: [file(1, 'a')] }).vanished).toEqual([]);
    expect(inventory.apply({ appeared: none, vanished: [file(1, 'b')] }).vanished).toHaveLength(1);
    expect([inventory.size, [...inventory.files()], inventory.find(executable(1).ids.gnu!)]).toEqual([
      0,
      [],
      [],
    ]);
  });

  it('keeps an executable whose only file is replaced by a copy in one pass', () => {
    const inventory = new Inventory();
    inventory.apply({ appeared: [file(1, 'old')], vanished: none });
    const change = inventory.apply({ appeared: [file(1, 'copy')], vanished: [file(1, 'old')] });
    expect(change).toEqual({ appeared: [], vanished: [] });
    expect(inventory.size).toBe(1);
  });

  it('takes the best name, and tells of it again only then', () => {
    const inventory = new Inventory();
    inventory.apply({ appeared: [file(1, 'a', '/tmp/x')], vanished: none });
    expect(inventory.apply({ appeared: [file(1, 'b', '/usr/lib/x')], vanished: none }).appeared).toHaveLength(
      1,
    );
    expect(inventory.apply({ appeared: [file(1, 'c', '/tmp/y')], vanished: none }).appeared).toEqual([]);
    expect([...inventory.values()][0]!.executable.name).toBe('/usr/lib/x');
  });

  it('finds by every ID, and both files where one ID is that of two', () => {
    const inventory = new Inventory();
    const { gnu } = executable(1).ids;
    const twin = {
      ...file(2),
      executable: executable(2, { ids: { gnu: gnu!, htlhash: executable(2).ids.htlhash } }),
    };
    inventory.apply({ appeared: [file(1), twin], vanished: none });
    expect(inventory.find(gnu!)).toHaveLength(2);
    expect(inventory.find(executable(2).ids.htlhash)).toHaveLength(1);
    expect(inventory.recordOf(gnu!, 0)).toMatchObject({ id: gnu, ambiguous: true, generation: 0 });
    expect(inventory.recordOf(htlhashId('ef'.repeat(16)), 0)).toBeUndefined();
  });

  it('holds at most so many, counts what is beyond, and takes others once there is room', () => {
    const inventory = new Inventory(3);
    inventory.apply({ appeared: [1, 2, 3, 4, 5].map((n) => file(n)), vanished: none });
    expect([inventory.size, inventory.dropped]).toEqual([3, 2]);
    // Another file of one that it has needs no room.
    inventory.apply({ appeared: [file(1, 'again')], vanished: none });
    expect([inventory.size, inventory.dropped]).toEqual([3, 2]);
    inventory.apply({ appeared: none, vanished: [file(4), file(2)] });
    inventory.apply({ appeared: [file(6)], vanished: none });
    expect([inventory.size, inventory.dropped]).toEqual([3, 2]);
    expect([...inventory.values()].map(({ executable: { name } }) => name)).toContain('/usr/lib/lib6.so');
  });
});
