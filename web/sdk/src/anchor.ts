const MOST = 512;
const ONE_LINE = /^[^\n\r\f]{1,64}$/;
const ACTIVE = 'a,button,input,select,textarea,label,summary,[role=button],[role=link],[role=tab]';
const LANDMARK = /^(?:main|header|footer|nav|aside|body)$/;
const NAMES = ['data-testid', 'data-test', 'data-cy', 'name', 'aria-label'];
const GENERATED = /\d{3}|\d[a-z]+\d|^\d|:/i;

/** The element that an interaction means: the nearest link, button or field around it, else itself. */
export function meant(target: Element): Element {
  return target.closest(ACTIVE) ?? target;
}

/**
 * A selector of the element that survives a reflow: from the nearest of its ancestors (or itself) that has a stable
 * id, test id, name or label, or is a landmark, down to it. At most 512 characters. Reads attributes and the tree,
 * never layout, text or values.
 */
export function anchorOf(element: Element): string {
  let selector = '';
  for (let at: Element | null = element; at; at = at.parentElement) {
    const name = named(at);
    const step = name || place(at);
    const longer = selector ? `${step}>${selector}` : step;
    if (longer.length > MOST) break;
    selector = longer;
    if (name || LANDMARK.test(at.localName)) break;
  }
  return selector;
}

function named(element: Element): string {
  const id = element.getAttribute('id');
  if (id && ONE_LINE.test(id) && !GENERATED.test(id)) return `#${CSS.escape(id)}`;
  for (const name of NAMES) {
    const value = element.getAttribute(name);
    if (value && ONE_LINE.test(value)) {
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
