import { anchorOf, meant } from './anchor';
import type { Listen } from './listen';

/** What a listener notes: no layout was read for it. Positions are page pixels. */
export interface Note {
  type: string;
  time: number;
  x?: number;
  y?: number;
  /** Pixels scrolled down. */
  scrolled?: number;
  /** The element that was hit. */
  target?: Element | undefined;
  anchor?: string;
  attrs?: object | undefined;
}

export const MOVE_MS = 50;
export const SCROLL_MS = 200;

const note = (type: string, at: MouseEvent | Touch, time = Date.now()): Note => ({
  type,
  time,
  x: at.pageX,
  y: at.pageY,
  scrolled: at.pageY - at.clientY,
  target: at.target instanceof Element ? at.target : undefined,
});

/**
 * Moves: at most one per 50 ms, and in any case the place where the pointer came to rest. Most are only remembered:
 * `remembered` is called for each of them, as somebody must call `rested` within a second then.
 */
export function createMoves(record: (note: Note) => void, remembered: () => void) {
  let last: Note | undefined;
  let resting: MouseEvent | undefined;
  let since = 0;

  function settle(): void {
    if (!resting) return;
    const now = note('mousemove', resting, since);
    resting = undefined;
    // Browsers repeat a move when the page changes under a still pointer.
    if (last?.x !== now.x || last?.y !== now.y) record((last = now));
  }
  return {
    move(event: MouseEvent): void {
      const now = Date.now();
      // It had come to rest there, if only for a moment.
      if (now - since >= MOVE_MS) settle();
      resting = event;
      since = now;
      if (last && Math.abs(now - last.time) < MOVE_MS) remembered();
      else settle();
    },
    /** Record where the pointer rests; what may be on its way is remembered on. */
    rested(): void {
      if (Date.now() - since >= MOVE_MS) settle();
      else if (resting) remembered();
    },
    settle,
  };
}

/** Listens to the page. */
export function capture(record: (note: Note) => void, remembered: () => void, listen: Listen) {
  const moves = createMoves(record, remembered);
  let forwarded: Element | null = null;
  let scrolling: ReturnType<typeof setTimeout> | undefined;

  // pointermove, not mousemove: after a tap, browsers make up a mouse move.
  listen<PointerEvent>(window, 'pointermove', (event) => {
    if (event.pointerType !== 'touch') moves.move(event);
  });
  listen<TouchEvent>(window, 'touchstart', (event) => {
    for (const touch of event.changedTouches) record(note('touch', touch));
  });
  listen<MouseEvent>(window, 'click', (event) => {
    const noted = note('click', event);
    const { target } = noted;
    if (!target) return;
    // A click on a label is followed by one on its field that the browser makes up.
    if (target === forwarded) return;
    const control = (target.closest('label') as HTMLLabelElement | null)?.control;
    forwarded = control && control !== target ? control : null;
    if (forwarded) setTimeout(() => (forwarded = null));
    // Now: the page may remove the element in a moment.
    noted.anchor = anchorOf(meant(target));
    // By keyboard: the centre of the element, once it can be measured.
    if (!event.detail) delete noted.x;
    moves.settle();
    record(noted);
  });
  listen(window, 'scroll', (event) => {
    if (event.target === document) {
      scrolling ??= setTimeout(() => {
        scrolling = undefined;
        record({ type: 'scroll', time: Date.now() });
      }, SCROLL_MS);
    }
  });
  return moves;
}
