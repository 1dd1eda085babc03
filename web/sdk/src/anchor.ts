const MOST = 512;
const ACTIVE = 'a,button,input,select,textarea,label,summary,[role=button],[role=link],[role=tab]';
const LANDMARK = /^(?:main|header|footer|nav|aside|body)$/;
const NAMES = ['id', 'data-testid', 'data-test', 'data-cy', 'name', 'aria-label'];
/** Short and on one line; not what looks made up by a machine (3 digits, digits between letters) or like an address. */
const TRUSTED = /^(?!\d|.*(?:\d{3}|\d[a-z]+\d|[:@]))[^\n\r\f]{1,64}$/i;
const MASKED = '[data-isotherm-mask]';

/** The element that an interaction means: the nearest link, button or field around it, else itself. */
export function meant(target: Element): Element {
  return target.closest(ACTIVE) ?? target;
}

/**
 * A selector of the element that survives a reflow: from the nearest of its ancestors (or itself) that has a stable
 * id, test id, name or label, or is a landmark, down to it. At most 512 characters. Reads attributes and the tree,
 * never layout, text or values; of what is masked, the tree only.
 */
export function anchorOf(element: Element): string {
  let selector = '';
  for (let at: Element | null = element; at; at = at.parentElement) {
    const name = at.closest(MASKED) ? '' : named(at);
    const step = name || place(at);
    const longer = selector ? `${step}>${selector}` : step;
    if (longer.length > MOST) break;
    selector = longer;
    if (name || LANDMARK.test(at.localName)) break;
  }
  return selector;
}

function named(element: Element): string {
  for (const name of NAMES) {
    const value = element.getAttribute(name);
    if (value && TRUSTED.test(value)) {
      if (name === 'id') return `#${CSS.escape(value)}`;
      return `${name === 'name' ? element.localName : ''}[${name}="${value.replace(/["\\]/g, '\\$&')}"]`;
    }
  }
  return '';
}

function place(element: Element): string {
  const tag = element.localName;
  const alike = [...(element.parentElement?.children ?? [])].filter((other) => other.localName === tag);
  return alike.length < 2 ? tag : `${tag}:nth-of-type(${alike.indexOf(element) + 1})`;
}
