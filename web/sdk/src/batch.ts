import { uuid } from './ids';
import { MOST_AGE_MS, type Row } from './queue';
import { bytesOf } from './text';

/** One page view: what its batches have in common, and its running numbers. */
export interface View {
  screen: string;
  url: string;
  /** Its numbers, from its first batch on: those of the next one, and until when, ms. */
  sequence?: { view: string; batch: number; first_event: number };
  until?: number;
}

/** An event as JSON, with its view and the sizes it was seen under (the batch's fields, as JSON without braces). */
export interface Ready {
  view: View;
  sizes: string;
  text: string;
}

export const MOST_EVENTS = 200;
/** What fits into a request that outlives its page. */
export const MOST_BODY_BYTES = 60_000;

/**
 * Batches of these events in their order: one view and one set of sizes each, at most 200 events and (unless a single
 * event is larger) 60,000 bytes. `common` are the fields of all batches.
 */
export function batches(ready: Ready[], common: object): Row[] {
  const made: Row[] = [];
  for (let start = 0, end = 0; start < ready.length; start = end) {
    const { view, sizes } = ready[start]!;
    const id = uuid();
    const now = Date.now();
    if (!(now < view.until!)) {
      view.until = now + MOST_AGE_MS;
      view.sequence = { view: uuid(), batch: 0, first_event: 0 };
    }
    const sequence = view.sequence!;
    const about = JSON.stringify({ ...common, screen_id: view.screen, batch_id: id, url: view.url, sequence });
    const head = `${about.slice(0, -1)},${sizes}`;
    let bytes = bytesOf(head) + 14;
    for (; end < ready.length && end - start < MOST_EVENTS; end++) {
      const next = ready[end]!;
      bytes += bytesOf(next.text) + 1;
      if (next.view !== view || next.sizes !== sizes || (end > start && bytes > MOST_BODY_BYTES)) break;
    }
    const events = end - start;
    sequence.batch++;
    sequence.first_event += events;
    const texts = ready.slice(start, end).map((event) => event.text);
    const body = `${head},"events":[${texts}]}`;
    made.push({ key: [now, id, bytesOf(body), events], body });
  }
  return made;
}
