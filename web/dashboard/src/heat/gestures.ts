import { panBy, place, type Point, type Viewport, zoomAt } from "./camera";
import type { Camera, Shape } from "./types";

/** What gestures need to know and what they do. Points are viewport pixels. */
export interface GestureTarget {
  view(): Viewport;
  shape(): Shape;
  camera(): Camera;
  move(camera: Camera): void;
  /** The pointer is there; null: it has left. */
  hover(point: Point | null): void;
  pick(point: Point): void;
  /** Moves the cell cursor by cells. */
  step(dx: number, dy: number): void;
  pickCursor(): void;
  fit(): void;
}

/** A press that moves less than this many pixels is a click. */
const CLICK_SLACK = 4;
const KEY_PAN = 80;
const KEY_ZOOM = 1.5;
/** Pixels of a line, where a wheel counts lines. */
const WHEEL_LINE = 16;

/** Listens on the element until the returned function is called. */
export function attachGestures(element: HTMLElement, target: GestureTarget): () => void {
  const end = new AbortController();
  const { signal } = end;
  attachPointers(element, target, signal);
  element.addEventListener("wheel", (event) => onWheel(event, element, target), { passive: false, signal });
  element.addEventListener("keydown", (event) => onKey(event, target), { signal });
  element.addEventListener(
    "dblclick",
    (event) => zoom(target, event.shiftKey ? 0.5 : 2, pointOf(event, element)),
    { signal },
  );
  return () => end.abort();
}

function attachPointers(element: HTMLElement, target: GestureTarget, signal: AbortSignal): void {
  const down = new Map<number, Point>();
  let travelled = 0;
  const options = { passive: true, signal };
  element.addEventListener(
    "pointerdown",
    (event) => {
      if (event.button !== 0 && event.button !== 1) return;
      if (down.size === 0) travelled = 0;
      down.set(event.pointerId, pointOf(event, element));
      element.setPointerCapture(event.pointerId);
    },
    options,
  );
  element.addEventListener(
    "pointermove",
    (event) => {
      const point = pointOf(event, element);
      const before = down.get(event.pointerId);
      if (before === undefined) {
        target.hover(point);
        return;
      }
      travelled += Math.hypot(point.x - before.x, point.y - before.y);
      if (travelled < CLICK_SLACK && down.size === 1) return;
      element.dataset["dragging"] = "";
      const others = [...down].filter(([id]) => id !== event.pointerId).map(([, other]) => other);
      drag(target, before, point, others[0] ?? null);
      down.set(event.pointerId, point);
    },
    options,
  );
  const release = (event: PointerEvent): void => {
    if (!down.delete(event.pointerId) || down.size > 0) return;
    delete element.dataset["dragging"];
    if (event.type !== "pointerup" || travelled >= CLICK_SLACK || event.button !== 0) return;
    const point = pointOf(event, element);
    target.hover(point);
    target.pick(point);
  };
  element.addEventListener("pointerup", release, options);
  element.addEventListener("pointercancel", release, options);
  element.addEventListener(
    "pointerleave",
    (event) => {
      // A finger that is lifted leaves too; what it tapped stays to be read.
      if (event.pointerType === "mouse" && down.size === 0) target.hover(null);
    },
    options,
  );
}

/** One pointer pans; with a second one that rests, what is under both stays under both. */
function drag(target: GestureTarget, from: Point, to: Point, other: Point | null): void {
  const [view, shape] = [target.view(), target.shape()];
  if (other === null) {
    target.move(panBy(target.camera(), to.x - from.x, to.y - from.y, view, shape));
    return;
  }
  const middle = { x: (to.x + other.x) / 2, y: (to.y + other.y) / 2 };
  const panned = panBy(target.camera(), (to.x - from.x) / 2, (to.y - from.y) / 2, view, shape);
  const spread = (point: Point): number => Math.max(1, Math.hypot(point.x - other.x, point.y - other.y));
  target.move(zoomAt(panned, spread(to) / spread(from), middle, view, shape));
}

/** Like a document viewer: the wheel scrolls, with shift sideways, with ctrl or a pinched trackpad it zooms. */
function onWheel(event: WheelEvent, element: HTMLElement, target: GestureTarget): void {
  const unit = [1, WHEEL_LINE, target.view().h][event.deltaMode] ?? 1;
  if (event.ctrlKey || event.metaKey) {
    event.preventDefault();
    const notch = Math.min(Math.max(event.deltaY * unit, -50), 50);
    zoom(target, Math.exp(-notch * 0.006), pointOf(event, element));
    return;
  }
  const sideways = event.shiftKey && event.deltaX === 0;
  const dx = (sideways ? event.deltaY : event.deltaX) * unit;
  const dy = (sideways ? 0 : event.deltaY) * unit;
  const before = target.camera();
  const after = panBy(before, -dx, -dy, target.view(), target.shape());
  // At the end of the screen the page around the stage scrolls on.
  const page = place(before, target.view(), target.shape());
  if (Math.abs(after.x - before.x) * page.w < 0.5 && Math.abs(after.y - before.y) * page.h < 0.5) return;
  event.preventDefault();
  target.move(after);
  target.hover(pointOf(event, element));
}

const ARROWS: Readonly<Record<string, readonly [number, number]>> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

function onKey(event: KeyboardEvent, target: GestureTarget): void {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const act = keyAction(event, target);
  if (act === null) return;
  event.preventDefault();
  act();
}

function keyAction(event: KeyboardEvent, target: GestureTarget): (() => void) | null {
  const arrow = ARROWS[event.key];
  const { w, h } = target.view();
  if (arrow !== undefined) {
    const [x, y] = arrow;
    return event.shiftKey ? () => target.step(x, y) : () => pan(target, -x * KEY_PAN, -y * KEY_PAN);
  }
  const middle = { x: w / 2, y: h / 2 };
  const far = Number.MAX_SAFE_INTEGER;
  const actions: Readonly<Record<string, () => void>> = {
    "+": () => zoom(target, KEY_ZOOM, middle),
    "=": () => zoom(target, KEY_ZOOM, middle),
    "-": () => zoom(target, 1 / KEY_ZOOM, middle),
    "0": () => target.fit(),
    PageUp: () => pan(target, 0, h * 0.9),
    PageDown: () => pan(target, 0, -h * 0.9),
    Home: () => pan(target, 0, far),
    End: () => pan(target, 0, -far),
    Enter: () => target.pickCursor(),
    Escape: () => target.hover(null),
  };
  return actions[event.key] ?? null;
}

function pan(target: GestureTarget, dx: number, dy: number): void {
  target.move(panBy(target.camera(), dx, dy, target.view(), target.shape()));
}

function zoom(target: GestureTarget, factor: number, point: Point): void {
  target.move(zoomAt(target.camera(), factor, point, target.view(), target.shape()));
}

function pointOf(event: MouseEvent, element: HTMLElement): Point {
  const box = element.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}
