import { describe, expect, test } from 'vitest';
import { fraction } from '../src/coordinates';

const cell = (x: number, grid: number): number => Math.min(Math.floor(x * grid), grid - 1);

/** Doubles around a value, `steps` representable numbers apart. */
function around(value: number, steps: number): number[] {
  const bits = new BigInt64Array(new Float64Array([value]).buffer)[0]!;
  return Array.from({ length: 2 * steps + 1 }, (_, n) => {
    return new Float64Array(new BigInt64Array([bits + BigInt(n - steps)]).buffer)[0]!;
  });
}

describe('a fraction', () => {
  test('is clamped, also where there is no size', () => {
    expect([-5, 0, 200, 201, 1e9].map((x) => fraction(x, 200))).toEqual([0, 0, 1, 1, 1]);
    expect([fraction(0, 0), fraction(5, 0), fraction(-5, 0), fraction(Number.NaN, 10)]).toEqual([0, 1, 0, 0]);
  });

  test('has at most five decimals, is never above by more than one of them and never below by as much', () => {
    for (let n = 0; n < 20_000; n++) {
      const size = 1 + Math.random() * 5000;
      const offset = Math.random() * size;
      const found = fraction(offset, size);
      expect(Number(found.toFixed(5))).toBe(found);
      expect(Math.abs(found - offset / size)).toBeLessThanOrEqual(1e-5);
    }
  });

  test("lies in the same cell as the exact value, on every border of the server's grid", () => {
    for (let k = 1; k <= 200; k++) {
      for (const exact of around(k / 200, 60)) {
        const found = fraction(exact, 1);
        for (const grid of [100, 200]) {
          expect(cell(found, grid), `${exact} -> ${found}`).toBe(cell(Math.min(exact, 1), grid));
        }
      }
    }
  });

  test('lies in the same cell for whole pixels of many page sizes', () => {
    for (const size of [320, 375, 390, 768, 1000, 1280, 1440, 1920, 3333, 12_345]) {
      for (let x = 0; x <= size; x++) {
        for (const grid of [100, 200]) expect(cell(fraction(x, size), grid)).toBe(cell(x / size, grid));
      }
    }
  });
});
