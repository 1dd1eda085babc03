import { IDBFactory } from 'fake-indexeddb';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createQueue, merge, MOST_AGE_MS, MOST_BATCHES, MOST_BYTES, type Drops, type Queue, type Row } from '../src/queue';

const none = new Set<string>();
let number = 0;
const row = (events = 1, bytes = 100, made = 1e12 + number): Row => ({
  key: [made, `id-${String(number++).padStart(6, '0')}`, bytes, events],
  body: '{}',
});

/** Everything that waits, taken out oldest first. */
async function empty(queue: Queue): Promise<Row[]> {
  const rows: Row[] = [];
  for (let next = await queue.next(none); next; next = await queue.next(none)) {
    rows.push(next);
    await queue.remove(next.key);
  }
  return rows;
}
const told = (rows: Row[]): Drops => rows.reduce((sum, one) => merge(sum, one.lost), {});

describe.each(['indexeddb', 'memory'])('a queue in %s', (where) => {
  beforeEach(() => {
    vi.setSystemTime(1e12 + 1000);
    if (where === 'indexeddb') vi.stubGlobal('indexedDB', new IDBFactory());
    else vi.stubGlobal('indexedDB', undefined);
  });
  afterEach(() => {
    vi.unstubAllGlobals();
    vi.useRealTimers();
  });

  test('gives back what was put, oldest first', async () => {
    const queue = createQueue('q');
    const rows = [row(), row(), row()];
    for (const one of rows) await queue.put(one);
    expect(await queue.next(new Set([rows[0]!.key[1]]))).toEqual(rows[1]);
    expect(await empty(queue)).toEqual(rows);
  });

  test('holds 500 batches; the second oldest go first and are counted', async () => {
    const queue = createQueue('q');
    const rows = Array.from({ length: MOST_BATCHES + 20 }, () => row(7));
    await Promise.all(rows.map((one) => queue.put(one)));
    const kept = await empty(queue);
    expect(kept.map((one) => one.key[1])).toEqual([rows[0]!, ...rows.slice(21)].map((one) => one.key[1]));
    expect(told(kept)).toEqual({ queue_full: 20 * 7 });
  });

  test('holds 4 MB', async () => {
    const queue = createQueue('q');
    const rows = Array.from({ length: 30 }, () => row(1, MOST_BYTES / 10));
    await Promise.all(rows.map((one) => queue.put(one)));
    const kept = await empty(queue);
    expect(kept.reduce((sum, one) => sum + one.key[2], 0)).toBe(MOST_BYTES);
    expect(told(kept)).toEqual({ queue_full: 20 });
  });

  test('whatever happens, events are kept or counted as dropped once', async () => {
    for (let round = 0; round < 8; round++) {
      const queue = createQueue(`q${round}`);
      let put = 0;
      let acknowledged = 0;
      let reported = 0;
      const settle = (one: Row): void => {
        acknowledged += one.key[3];
        reported += Object.values(one.lost ?? {}).reduce((a, b) => a + b, 0);
      };
      for (let step = 0; step < 150; step++) {
        const one = row(1 + Math.floor(Math.random() * 9), Math.floor(Math.random() ** 4 * 3e6), Date.now() + step);
        const next = await queue.next(none);
        const dice = Math.random();
        if (dice < 0.6) {
          put += one.key[3];
          await queue.put(one);
        } else if (dice < 0.65) {
          put++;
          queue.lose('no_position');
        } else if (next && dice < 0.75) {
          await Promise.all([queue.drop(next.key, 'refused'), queue.drop(next.key, 'refused')]);
        } else if (next && dice < 0.8) {
          await queue.doubt(next);
        } else if (next) {
          settle(next);
          await queue.remove(next.key);
        }
      }
      put++;
      await queue.put(row(1, 10, Date.now() + 1e6));
      (await empty(queue)).forEach(settle);
      expect(acknowledged + reported).toBe(put);
    }
  });

  test('what is older than 23 h is dropped, and told with the next; so with a clock that was put back', async () => {
    const queue = createQueue('q');
    await queue.put(row(3, 100, Date.now() - MOST_AGE_MS - 1));
    await queue.put(row(4, 100, Date.now() + MOST_AGE_MS + 1));
    const fresh = row(1, 100, Date.now() - MOST_AGE_MS);
    await queue.put(fresh);
    expect((await queue.next(none))!.key).toEqual(fresh.key);
    await queue.put(row(1, 100, Date.now()));
    const rows = await empty(queue);
    await queue.put(row(1, 100, Date.now()));
    rows.push(...(await empty(queue)));
    expect(rows).toHaveLength(3);
    expect(told(rows)).toEqual({ too_old: 3 + 4 });
  });

  test('what may have arrived is told apart', async () => {
    const queue = createQueue('q');
    const one = row(5);
    await queue.put(one);
    await queue.doubt(one);
    await queue.drop(one.key, 'refused');
    await queue.put(row());
    expect(told(await empty(queue))).toEqual({ unsure: 5 });
  });

  test('what comes before the database is open waits for it', async () => {
    const queue = createQueue('q');
    const early = row();
    queue.lose('no_position');
    queue.putNow([early]);
    await queue.put(row());
    const rows = await empty(queue);
    expect(rows).toHaveLength(2);
    expect(told(rows)).toEqual({ no_position: 1 });
    expect(await queue.next(none)).toBeUndefined();
  });
});

test('the next page finds what the last one put, also at its last moment', async () => {
  vi.stubGlobal('indexedDB', new IDBFactory());
  vi.useFakeTimers({ now: 1e12 + 1000, toFake: ['Date'] });
  const first = createQueue('q');
  const rows = [row(), row(), row()];
  await first.put(rows[0]!);
  first.lose('no_position');
  first.putNow([rows[1]!, rows[2]!, rows[0]!]);
  const second = createQueue('q');
  await second.put(row());
  const found = await empty(second);
  expect(found.map((one) => one.key[1])).toEqual([...rows.map((one) => one.key[1]), found[3]!.key[1]]);
  expect(told(found)).toEqual({ no_position: 1 });
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test('a batch that was handed over in a hurry and sent by another tab keeps no losses', async () => {
  vi.stubGlobal('indexedDB', new IDBFactory());
  const [one, two] = [createQueue('q'), createQueue('q')];
  await one.put(row(1, 100, Date.now()));
  await two.next(none);
  const late = row(2, 100, Date.now());
  one.lose('no_position');
  const putting = one.put(late);
  one.putNow([late]);
  await Promise.all([putting, empty(two)]);
  await two.put(row(1, 100, Date.now()));
  expect(told(await empty(two))).toEqual({ no_position: 1 });
  vi.unstubAllGlobals();
});

test('two tabs drop a batch once', async () => {
  vi.stubGlobal('indexedDB', new IDBFactory());
  const [one, two] = [createQueue('q'), createQueue('q')];
  const shared = row(9, 100, Date.now());
  await one.put(shared);
  await Promise.all([one.drop(shared.key, 'refused'), two.drop(shared.key, 'refused')]);
  await two.put(row(1, 100, Date.now()));
  await one.put(row(1, 100, Date.now()));
  expect(told(await empty(one))).toEqual({ refused: 9 });
  vi.unstubAllGlobals();
});
