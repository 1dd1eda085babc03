import { anchorOf, meant } from './anchor';
import type { Ready, View } from './batch';
import type { Note } from './capture';
import { fraction } from './coordinates';
import { boxOf, measure, type Box, type Sizes } from './measure';
import { safe } from './safe';

interface Raw extends Note {
  view: View;
  sizes: Sizes | undefined;
}

const IDLE_MS = 100;

/** Do it when the browser has nothing better to do, but soon. */
export const whenIdle = (work: () => void): unknown =>
  (window as Partial<Window>).requestIdleCallback?.(work, { timeout: IDLE_MS }) ?? setTimeout(work);

/** The share of a length that an offset is, if it lies inside. */
const share = (offset: number, size: number): number | undefined =>
  size > 0 && offset >= 0 && offset <= size ? fraction(offset, size) : undefined;

/**
 * Turns notes into events. Sizes are those of the last measurement before the note; elements are measured in idle
 * time, many at once.
 */
export function createRecorder(regionSelector: string | undefined, lose: (reason: string) => void, signal: AbortSignal) {
  let raws: Raw[] = [];
  let ready: Ready[] = [];
  let sizes: Sizes | undefined;
  let region: Element | null | undefined;

  const observer = new ResizeObserver(safe(look));
  signal.addEventListener('abort', () => observer.disconnect());
  observer.observe(document.documentElement);

  function look(): void {
    if (regionSelector) {
      const found = document.querySelector(regionSelector);
      if (found && found !== region) observer.observe(found);
      region = found;
    }
    sizes = measure(region);
  }

  function finish(raw: Raw, leaving?: boolean): void {
    const { type, time, view, target, attrs } = raw;
    const seen = raw.sizes ?? sizes;
    // A position without an element: nothing of the page was hit.
    if (!seen || (raw.scrolled !== undefined && !target)) return;
    const place = (element: Element): Box | undefined =>
      leaving || !element.isConnected ? undefined : boxOf(element);
    const event: Record<string, unknown> = { event_time: time, event_type: type };
    if (type === 'scroll') {
      if (leaving) return;
      event['scroll_y'] = Math.round(scrollY);
      event['attrs'] = { depth: fraction(scrollY + seen.shown, seen.height) };
    } else if (target) {
      const { box } = seen;
      let { x, y } = raw as { x?: number; y: number };
      if (x === undefined) {
        const hit = place(target);
        if (!hit) return lose('no_position');
        x = hit.x + hit.w / 2;
        y = hit.y + hit.h / 2;
      }
      if (!box) return;
      // What is not on the region is no event of this screen.
      const part = regionSelector ? share : fraction;
      const x_norm = part(x - box.x, box.w);
      const y_norm = part(y - box.y, box.h);
      if (x_norm === undefined || y_norm === undefined) return;
      Object.assign(event, {
        x_norm,
        y_norm,
        x_px: Math.round(x),
        y_px: Math.round(y),
        scroll_y: Math.round(raw.scrolled!),
      });
      if (type !== 'mousemove') {
        const element = meant(target);
        const around = place(element);
        event['anchor'] = raw.anchor ?? (target.isConnected ? anchorOf(element) : undefined);
        const ax = around && share(x - around.x, around.w);
        const ay = around && share(y - around.y, around.h);
        if (ax !== undefined && ay !== undefined) Object.assign(event, { ax, ay });
      }
    } else if (attrs) event['attrs'] = attrs;
    ready.push({ view, sizes: seen.text, text: JSON.stringify(event) });
  }

  /** Turn all notes into events. Leaving, nothing is measured any more. */
  function process(leaving?: boolean): void {
    const taken = raws;
    raws = [];
    if (!taken.length || signal.aborted) return;
    if (!leaving || !sizes) look();
    for (const raw of taken) safe(finish)(raw, leaving);
  }

  const work = safe(() => process());

  return {
    /** Keep a note of this view; how many events wait now. */
    add(note: Note, view: View): number {
      raws.push(Object.assign(note, { view, sizes }));
      // A click (it has its anchor already) may change what it hit, and scrolling may go on: measured soon.
      if (note.anchor || note.type === 'scroll') whenIdle(work);
      return raws.length + ready.length;
    },
    /** All events so far. */
    take(leaving?: boolean): Ready[] {
      process(leaving);
      const taken = ready;
      ready = [];
      return taken;
    },
  };
}
