import { expect, test } from 'vitest';
import { delayAfter, retryAfterMs } from '../src/backoff';

test('the pause doubles up to a minute, and is anything below that', () => {
  expect([1, 2, 3, 4, 5, 6, 40].map((n) => delayAfter(n, 0, 1))).toEqual([2e3, 4e3, 8e3, 16e3, 32e3, 6e4, 6e4]);
  expect(delayAfter(9, 0, 0)).toBe(0);
  const drawn = Array.from({ length: 2000 }, () => delayAfter(3, 0));
  expect(Math.min(...drawn)).toBeLessThan(400);
  expect(Math.max(...drawn)).toBeGreaterThan(7600);
  expect(Math.max(...drawn)).toBeLessThan(8000);
});

test('what the server asks for is waited for, at most an hour, and never less', () => {
  expect(delayAfter(1, 5000, 0)).toBe(5000);
  expect(delayAfter(1, 5000, 0.5)).toBe(6000);
  expect(delayAfter(1, 1e9, 0)).toBe(3_600_000);
});

test.each([
  ['3', 3000],
  ['0.5', 500],
  [null, 0],
  ['', 0],
  ['soon', 0],
  ['-4', 0],
  ['Wed, 21 Oct 2026 07:28:00 GMT', 60_000],
  ['Wed, 21 Oct 2026 07:26:00 GMT', 0],
])('Retry-After %s', (header, wanted) => {
  expect(retryAfterMs(header, Date.parse('2026-10-21T07:27:00Z'))).toBe(wanted);
});
