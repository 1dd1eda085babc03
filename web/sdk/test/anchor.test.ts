// @vitest-environment happy-dom
import { beforeEach, describe, expect, test } from 'vitest';
import { anchorOf, meant } from '../src/anchor';

const show = (html: string): void => {
  document.body.innerHTML = html;
};
const find = (selector: string): Element => document.querySelector(selector)!;
const anchor = (selector: string): string => anchorOf(find(selector));

describe('the anchor', () => {
  beforeEach(() => show(''));

  test.each([
    ['<p id="buy-now" class=x></p>', '#buy-now'],
    ['<p id="section-2" class=x></p>', '#section-2'],
    ['<p data-testid="cart" class=x></p>', '[data-testid="cart"]'],
    ['<p data-test="cart" class=x></p>', '[data-test="cart"]'],
    ['<p data-cy="cart" class=x></p>', '[data-cy="cart"]'],
    ['<input name="mail" class=x>', 'input[name="mail"]'],
    ['<p aria-label="Say hi" class=x></p>', '[aria-label="Say hi"]'],
    ['<main><section></section><section><a class=x></a></section></main>', 'main>section:nth-of-type(2)>a'],
    ['<div><i></i><b class=x></b></div>', 'body>div>b'],
    ['<div id="list"><ul><li></li><li class=x></li></ul></div>', '#list>ul>li:nth-of-type(2)'],
  ])('of %s', (html, wanted) => {
    show(html);
    expect(anchor('.x')).toBe(wanted);
    expect(find(wanted)).toBe(find('.x'));
  });

  test.each(['r-48391', ':r1:', '3d', 'a1b2c3', 'x'.repeat(65)])('does not trust the generated id %s', (id) => {
    show(`<main><p></p></main>`);
    find('p').id = id;
    expect(anchor('p')).toBe('main>p');
  });

  test.each(['data-testid', 'name', 'aria-label'])('does not take over what looks like a person or a number: %s', (name) => {
    for (const value of ['anna@example.org', 'Card ending 4242', 'two\nlines']) {
      show('<main><p></p></main>');
      find('p').setAttribute(name, value);
      expect(anchor('p')).toBe('main>p');
    }
  });

  test('names nothing that is masked, or inside it', () => {
    show(
      '<div id="list"><ul data-isotherm-mask id="friends"><li id="anna"></li><li aria-label="Bo"><b id="bo"></b></li></ul></div>',
    );
    expect(anchor('#friends')).toBe('#list>ul');
    expect(anchor('#anna')).toBe('#list>ul>li:nth-of-type(1)');
    expect(anchor('#bo')).toBe('#list>ul>li:nth-of-type(2)>b');
    expect(find(anchor('#bo'))).toBe(find('#bo'));
  });

  test('is at most 512 characters, the nearest part of the way', () => {
    show(`${'<custom-element-with-a-name>'.repeat(40)}<p></p>`);
    const found = anchor('p');
    expect(found.length).toBeLessThanOrEqual(512);
    expect(found.endsWith('>p')).toBe(true);
    expect(find(found)).toBe(find('p'));
  });

  test('means the link or button around what was hit', () => {
    show('<a id="go"><b><i></i></b></a><p></p>');
    expect(meant(find('i')).id).toBe('go');
    expect(meant(find('p'))).toBe(find('p'));
  });

  test('never looks at values, texts or layout', () => {
    show('<form><input value="secret"><textarea>secret</textarea><p>secret</p></form>');
    for (const element of Array.from(document.querySelectorAll('input,textarea,p'))) {
      for (const name of ['value', 'textContent', 'innerText', 'getBoundingClientRect', 'offsetWidth']) {
        Object.defineProperty(element, name, {
          get: () => {
            throw new Error(`${name} was read`);
          },
        });
      }
      expect(anchorOf(element)).not.toContain('secret');
    }
  });
});
