import { describe, expect, test } from 'vitest';
import { hashRoute, screenId, template, type Screen } from '../src/screen';

const at = (pathname: string, hash = ''): Location => ({ pathname, hash }) as Location;
const id = (screen: Screen, where: Location): string => screenId(screen, where);

describe('a path', () => {
  test.each([
    ['/', '/'],
    ['/users/42', '/users/:id'],
    ['/users/42/orders/2024/', '/users/:id/orders/:id/'],
    ['/o/123e4567-e89b-12d3-a456-426614174000', '/o/:id'],
    ['/o/123E4567E89B12D3A456426614174000/x', '/o/:id/x'],
    ['/commit/9f2c1b7e', '/commit/:id'],
    ['/s/eyJhbGciOiJIUzI1NiJ9', '/s/:id'],
    ['/s/dQw4w9-WgXcQ_abcd-EF12', '/s/:id'],
    ['/u/ada@example.org', '/u/:id'],
    ['/u/ada%40example.org', '/u/:id'],
  ])('%s has its identifiers templated', (path, wanted) => {
    expect(template(path)).toBe(wanted);
  });

  test.each([
    '/pricing',
    '/blog/ten-things-to-do-in-2024-before-lunch',
    '/v2/docs/section-3',
    '/facade/cafe',
    '/iphone15/pro',
    '/a/thisisaverylongsinglewordwithoutdigits',
  ])('%s stays as it is', (path) => {
    expect(template(path)).toBe(path);
  });

  test('is read as text, broken escapes as they stand', () => {
    expect(template('/caf%C3%A9/%zz')).toBe('/café/%zz');
  });
});

describe('a screen id', () => {
  test('takes fragments that are routes, without their query', () => {
    expect(hashRoute('#/users/7?tab=1')).toBe('#/users/7');
    expect(hashRoute('#!/a')).toBe('#!/a');
    expect([hashRoute('#top'), hashRoute('')]).toEqual(['', '']);
    expect(id(undefined, at('/app', '#/users/7?tab=1'))).toBe('/app#/users/:id');
    expect(id(undefined, at('/app', '#access_token=abc'))).toBe('/app');
  });

  test('is what the page says, by name or function; the path where that fails', () => {
    expect(id('home', at('/x'))).toBe('home');
    expect(id((where) => where.pathname.toUpperCase(), at('/x'))).toBe('/X');
    expect(id(() => '', at('/x/1'))).toBe('/x/:id');
    expect(id(() => JSON.parse('{') as string, at('/x/1'))).toBe('/x/:id');
  });

  test('is 1 to 236 bytes of whole characters without control characters, | and halves of pairs', () => {
    expect(id('a|b\u0000c\u009fd\ud83de😀', at('/'))).toBe('a_b_c_d_e😀');
    for (const letter of ['a', 'é', '€', '😀']) {
      for (const before of ['', 'a', 'ab', 'abc']) {
        const found = id(before + letter.repeat(400), at('/'));
        const bytes = new TextEncoder().encode(found).length;
        expect(bytes).toBeLessThanOrEqual(236);
        expect(bytes).toBeGreaterThan(232);
        expect(found.endsWith(letter)).toBe(true);
        expect(found).not.toContain('�');
      }
    }
    expect(id(undefined, at(''))).toBe('/');
  });
});
