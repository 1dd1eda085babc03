/** A rectangle in page pixels. */
export interface Box {
  x: number;
  y: number;
  w: number;
  h: number;
}

/**
 * How large everything is at one moment. `text` are the batch's fields that say so, as JSON without braces; `box` is
 * what coordinates are fractions of, undefined while the region is not on the page; `height` is the page's, `shown` how
 * much of it the viewport shows.
 */
export interface Sizes {
  text: string;
  box: Box | undefined;
  height: number;
  shown: number;
}

/** Reads layout: only for moments when it is clean (an observer, idle time), never for listeners. */
export function measure(region: Element | null | undefined): Sizes {
  const root = document.scrollingElement ?? document.documentElement;
  const page = { w: root.scrollWidth, h: root.scrollHeight };
  const box = region === undefined ? { x: 0, y: 0, ...page } : region ? boxOf(region) : undefined;
  const about = {
    viewport: { w: innerWidth, h: innerHeight },
    document: page,
    region: region && box ? { w: Math.round(box.w), h: Math.round(box.h) } : undefined,
    device_pixel_ratio: devicePixelRatio,
  };
  return { text: JSON.stringify(about).slice(1, -1), box, height: page.h, shown: innerHeight };
}

/** Where the element is on the page. Reads layout. */
export function boxOf(element: Element): Box {
  const rect = element.getBoundingClientRect();
  return { x: rect.left + scrollX, y: rect.top + scrollY, w: rect.width, h: rect.height };
}
