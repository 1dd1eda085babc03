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
/** How soon a pointer that does not move any more is noticed. */
const REST_MS = 200;

/** Moves: at most one per 50 ms, and in any case the place where the pointer came to rest. */
export function createMoves(record: (note: Note) => void) {
  let last: Note | undefined;
  let resting: Note | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;

  function settle(): void {
    if (resting) record((last = resting));
    resting = undefined;
  }
  function watch(): void {
    timer = undefined;
    if (!resting) return;
    if (Date.now() - resting.time >= MOVE_MS) settle();
    else timer = setTimeout(watch, REST_MS);
  }
  return {
    move(note: Note): void {
      const before = resting ?? last;
      // Browsers repeat a move when the page changes under a still pointer.
      if (before && before.x === note.x && before.y === note.y) return;
      // It had come to rest there, if only for a moment.
      if (resting && note.time - resting.time >= MOVE_MS) settle();
      if (last && Math.abs(note.time - last.time) < MOVE_MS) {
        resting = note;
        timer ??= setTimeout(watch, REST_MS);
      } else {
        resting = undefined;
        record((last = note));
      }
    },
    settle,
  };
}

const note = (type: string, at: MouseEvent | Touch): Note => ({
  type,
  time: Date.now(),
  x: at.pageX,
  y: at.pageY,
  scrolled: at.pageY - at.clientY,
  target: at.target instanceof Element ? at.target : undefined,
});

/** Listens to the page. Returns a function that records a resting pointer. */
export function capture(record: (note: Note) => void, listen: Listen): () => void {
  const moves = createMoves(record);
  let forwarded: Element | null = null;
  let scrolling: ReturnType<typeof setTimeout> | undefined;

  // pointermove, not mousemove: after a tap, browsers make up a mouse move.
  listen<PointerEvent>(window, 'pointermove', (event) => {
    if (event.pointerType !== 'touch') moves.move(note('mousemove', event));
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
  return moves.settle;
}
