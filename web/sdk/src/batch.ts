import { uuid } from './ids';
import type { Row } from './queue';
import { bytesOf } from './text';

/** One page view: what its batches have in common, and its running numbers. */
export interface View {
  id: string;
  screen: string;
  url: string;
  batches: number;
  events: number;
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

export function row(body: string, events: number, id: string): Row {
  return { key: [Date.now(), id, bytesOf(body), events], body };
}

/**
 * Batches of these events in their order: one view and one set of sizes each, at most 200 events and (unless a single
 * event is larger) 60,000 bytes. `common` are the fields of all batches.
 */
export function batches(ready: Ready[], common: object): Row[] {
  const made: Row[] = [];
  for (let start = 0, end = 0; start < ready.length; start = end) {
    const { view, sizes } = ready[start]!;
    const id = uuid();
    const sequence = { view: view.id, batch: view.batches++, first_event: view.events };
    const about = JSON.stringify({ ...common, screen_id: view.screen, batch_id: id, url: view.url, sequence });
    const head = `${about.slice(0, -1)},${sizes},"events":[`;
    let bytes = bytesOf(head) + 2;
    for (; end < ready.length && end - start < MOST_EVENTS; end++) {
      const next = ready[end]!;
      bytes += bytesOf(next.text) + 1;
      if (next.view !== view || next.sizes !== sizes || (end > start && bytes > MOST_BODY_BYTES)) break;
    }
    const texts = ready.slice(start, end).map((event) => event.text);
    view.events += texts.length;
    made.push(row(`${head}${texts.join()}]}`, texts.length, id));
  }
  return made;
}

/** Two batches with half the events each, under ids of their own and the number of the whole; none for one event. */
export function halves(whole: Row): Row[] {
  const batch = JSON.parse(whole.body) as { sequence: { first_event: number }; events: unknown[] };
  const middle = batch.events.length >> 1;
  if (!middle) return [];
  return [0, middle].map((from) => {
    const events = batch.events.slice(from, from ? undefined : middle);
    const sequence = { ...batch.sequence, first_event: batch.sequence.first_event + from };
    const id = uuid();
    const part = row(JSON.stringify({ ...batch, batch_id: id, sequence, events }), events.length, id);
    part.key[0] = whole.key[0];
    return part;
  });
}
