import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createMoves, MOVE_MS, type Note } from '../src/capture';

beforeEach(() => {
  vi.stubGlobal('Element', Object);
  vi.useFakeTimers({ now: 1_700_000_000_000 });
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const at = (x: number, y = 0): MouseEvent => ({ pageX: x, pageY: y, clientY: y, target: null }) as unknown as MouseEvent;

/** Moves as the page has them: `rested` is called within a second where that is asked for. */
function watched(kept: Note[]) {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const moves = createMoves(
    (one) => kept.push(one),
    () => {
      timer ??= setTimeout(() => {
        timer = undefined;
        moves.rested();
      }, 900);
    },
  );
  return moves;
}

/** Moves the pointer with these pauses (ms) before each step; what was recorded, a second after the last. */
function moved(pauses: number[]): { all: Note[]; kept: Note[] } {
  const all: Note[] = [];
  const kept: Note[] = [];
  const moves = watched(kept);
  pauses.forEach((pause, step) => {
    vi.advanceTimersByTime(pause);
    all.push({ type: 'mousemove', time: Date.now(), x: step });
    moves.move(at(step));
  });
  vi.advanceTimersByTime(2000);
  return { all, kept: kept.map((one) => all[one.x!]!) };
}

test('the first, one per 50 ms, and where it came to rest', () => {
  const { kept } = moved(Array.from({ length: 21 }, () => 10));
  expect(kept.map((one) => one.x)).toEqual([0, 5, 10, 15, 20]);
  expect(moved([0, 10, 10]).kept.map((one) => one.x)).toEqual([0, 2]);
});

test('whatever the pauses: in order, at most one per 50 ms but for rests, every rest is there', () => {
  for (let round = 0; round < 300; round++) {
    const pauses = Array.from({ length: 60 }, () => Math.floor(Math.random() ** 3 * 200));
    const { all, kept } = moved(pauses);
    const rests = new Set(all.filter((one, n) => n + 1 === all.length || all[n + 1]!.time - one.time >= MOVE_MS));
    expect(new Set(kept).size).toBe(kept.length);
    expect(kept.toSorted((a, b) => a.time - b.time || a.x! - b.x!)).toEqual(kept);
    for (const rest of rests) expect(kept).toContain(rest);
    kept.slice(1).forEach((one, n) => {
      const stood = all[all.indexOf(one) + 1]?.time ?? Infinity;
      const apart = one.time - kept[n]!.time >= MOVE_MS;
      expect(apart || stood - one.time >= MOVE_MS).toBe(true);
    });
  }
});

test('a repeated move to the same place is none', () => {
  const kept: Note[] = [];
  const moves = watched(kept);
  for (let n = 0; n < 5; n++) {
    moves.move(at(7, 7));
    vi.advanceTimersByTime(500);
  }
  expect(kept).toHaveLength(1);
});

test('settling records the resting place at once, and once', () => {
  const kept: Note[] = [];
  const moves = watched(kept);
  moves.move(at(1));
  moves.move(at(2));
  moves.settle();
  moves.settle();
  vi.advanceTimersByTime(2000);
  expect(kept.map((one) => one.x)).toEqual([1, 2]);
});
