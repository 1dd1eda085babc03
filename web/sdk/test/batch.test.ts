import { expect, test, vi } from 'vitest';
import { batches, MOST_BODY_BYTES, type Ready, type View } from '../src/batch';
import { uuid } from '../src/ids';

interface Body {
  batch_id: string;
  screen_id: string;
  viewport: object;
  sequence: { view: string; batch: number; first_event: number };
  events: { n: number }[];
}

const common = { client_id: 'shop', session_id: 's', sdk: 'x' };
const view = (screen: string): View => ({ screen, url: 'http://x/' });
const ready = (of: View, n: number, sizes = '"viewport":{"w":1,"h":1}', more = ''): Ready => ({
  view: of,
  sizes,
  text: JSON.stringify({ n, more }),
});
const parse = (body: string): Body => JSON.parse(body) as Body;
const bytes = (text: string): number => new TextEncoder().encode(text).length;

test('one view, one set of sizes and 200 events a batch, numbered without gaps', () => {
  const [one, two] = [view('one'), view('two')];
  const events = [
    ...Array.from({ length: 450 }, (_, n) => ready(one, n)),
    ...Array.from({ length: 3 }, (_, n) => ready(two, n)),
    ...Array.from({ length: 2 }, (_, n) => ready(two, 3 + n, '"viewport":{"w":2,"h":1}')),
  ];
  const rows = batches(events, common);
  const bodies = rows.map((row) => parse(row.body));
  expect(bodies.map((b) => [b.screen_id, b.sequence.batch, b.sequence.first_event, b.events.length])).toEqual([
    ['one', 0, 0, 200],
    ['one', 1, 200, 200],
    ['one', 2, 400, 50],
    ['two', 0, 0, 3],
    ['two', 1, 3, 2],
  ]);
  expect(bodies.flatMap((b) => b.events.map((e) => e.n))).toEqual([...Array(450).keys(), 0, 1, 2, 3, 4]);
  expect(bodies.at(-1)!.viewport).toEqual({ w: 2, h: 1 });
  expect(rows.map((row) => row.key.slice(1))).toEqual(
    rows.map((row, n) => [bodies[n]!.batch_id, bytes(row.body), bodies[n]!.events.length]),
  );
  // The numbers go on where they were.
  expect(parse(batches([ready(one, 450)], common)[0]!.body).sequence).toEqual({ view: expect.any(String), batch: 3, first_event: 450 });
  expect(batches([], common)).toEqual([]);
});

test('a body fits into a request that outlives its page, whatever the letters', () => {
  for (const letter of ['a', 'é', '€', '😀']) {
    const one = view('v');
    const rows = batches(
      Array.from({ length: 150 }, (_, n) => ready(one, n, undefined, letter.repeat(Math.floor(Math.random() * 900)))),
      common,
    );
    for (const row of rows) expect(bytes(row.body)).toBeLessThanOrEqual(MOST_BODY_BYTES);
    expect(rows.flatMap((row) => parse(row.body).events.map((e) => e.n))).toEqual([...Array(150).keys()]);
  }
});

test('an event that is larger than that goes alone', () => {
  const one = view('v');
  const rows = batches([ready(one, 0), ready(one, 1, undefined, 'x'.repeat(70_000)), ready(one, 2)], common);
  expect(rows.map((row) => row.key[3])).toEqual([1, 1, 1]);
});

test('ids are random UUIDs', () => {
  const ids = Array.from({ length: 500 }, uuid);
  expect(new Set(ids).size).toBe(500);
  for (const id of ids) expect(id).toMatch(/^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/);
});

test('numbers of a view are for less than a day: what is packed later has new ones, on the same screen', () => {
  vi.useFakeTimers({ now: 1_770_000_000_000 });
  try {
    const one = view('one');
    const sent = (): Body[] => batches([ready(one, 0), ready(one, 1)], common).map((row) => parse(row.body));
    const said = [];
    for (const hours of [0, 22.9, 0.1, 22.9]) {
      vi.advanceTimersByTime(hours * 3_600_000);
      said.push(...sent());
    }
    expect(said.map((body) => [body.screen_id, body.sequence.batch, body.sequence.first_event])).toEqual([
      ['one', 0, 0],
      ['one', 1, 2],
      ['one', 0, 0],
      ['one', 1, 2],
    ]);
    const names = said.map((body) => body.sequence.view);
    expect([names[1], names[3]]).toEqual([names[0], names[2]]);
    expect(names[2]).not.toBe(names[0]);
  } finally {
    vi.useRealTimers();
  }
});
