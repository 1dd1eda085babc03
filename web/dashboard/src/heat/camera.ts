import type { Camera, Shape } from "./types";

/** Size of what the stage shows, in CSS pixels. */
export interface Viewport {
  readonly w: number;
  readonly h: number;
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** Where something lies in the viewport, in CSS pixels. */
export interface Rect {
  readonly x: number;
  readonly y: number;
  readonly w: number;
  readonly h: number;
}

/** The screen's top in the opening view: zoom 0 stands for what suits shape and viewport. */
export const INITIAL_CAMERA: Camera = { x: 0.5, y: 0, zoom: 0 };

/** Largest magnification: viewport pixels per pixel of the screen. */
const CLOSEST = 16;
/** A screen narrower than the viewport (a phone's) is opened no larger than this. */
const OPENING = 1.25;

/** The zoom at which the whole screen is seen. */
export function wholeZoom(view: Viewport, shape: Shape): number {
  return Math.min(1, (view.h * shape.w) / (view.w * shape.h));
}

/** Smallest and largest zoom. */
export function zoomBounds(view: Viewport, shape: Shape): readonly [number, number] {
  return [wholeZoom(view, shape), Math.max(4, (CLOSEST * shape.w) / view.w)];
}

export function openingZoom(view: Viewport, shape: Shape): number {
  return Math.max(wholeZoom(view, shape), Math.min(1, (OPENING * shape.w) / view.w));
}

/** The nearest camera from which nothing but screen is seen where the screen can fill the viewport; else centred. */
export function settle(camera: Camera, view: Viewport, shape: Shape): Camera {
  const [least, most] = zoomBounds(view, shape);
  const wanted = camera.zoom > 0 ? camera.zoom : openingZoom(view, shape);
  const zoom = Math.min(Math.max(wanted, least), most);
  const w = zoom * view.w;
  return { x: within(camera.x, view.w / w), y: within(camera.y, (view.h * shape.w) / (w * shape.h)), zoom };
}

/** Keeps a window of `part` of the whole inside of it; a window larger than the whole is centred. */
function within(centre: number, part: number): number {
  if (part >= 1) return 0.5;
  return Math.min(Math.max(centre, part / 2), 1 - part / 2);
}

/** Where the screen lies in the viewport. */
export function place(camera: Camera, view: Viewport, shape: Shape): Rect {
  const w = camera.zoom * view.w;
  const h = (w * shape.h) / shape.w;
  return { x: view.w / 2 - camera.x * w, y: view.h / 2 - camera.y * h, w, h };
}

/** Viewport pixels to fractions of the screen. */
export function toScreen(point: Point, page: Rect): Point {
  return { x: (point.x - page.x) / page.w, y: (point.y - page.y) / page.h };
}

/** Fractions of the screen to viewport pixels. */
export function toViewport(point: Point, page: Rect): Point {
  return { x: page.x + point.x * page.w, y: page.y + point.y * page.h };
}

/** Moves what is seen with the pointer by viewport pixels. */
export function panBy(camera: Camera, dx: number, dy: number, view: Viewport, shape: Shape): Camera {
  const from = settle(camera, view, shape);
  const page = place(from, view, shape);
  return settle({ x: from.x - dx / page.w, y: from.y - dy / page.h, zoom: from.zoom }, view, shape);
}

/** Zooms by a factor and keeps what is at `point` (viewport pixels) where it is, as far as the bounds allow. */
export function zoomAt(camera: Camera, factor: number, point: Point, view: Viewport, shape: Shape): Camera {
  const from = settle(camera, view, shape);
  const [least, most] = zoomBounds(view, shape);
  const zoom = Math.min(Math.max(from.zoom * factor, least), most);
  const fixed = toScreen(point, place(from, view, shape));
  const w = zoom * view.w;
  const h = (w * shape.h) / shape.w;
  const x = fixed.x - (point.x - view.w / 2) / w;
  const y = fixed.y - (point.y - view.h / 2) / h;
  return settle({ x, y, zoom }, view, shape);
}

export function fitWhole(view: Viewport, shape: Shape): Camera {
  return settle({ x: 0.5, y: 0.5, zoom: wholeZoom(view, shape) }, view, shape);
}

/** Full width, at the height where the camera is. */
export function fitWidth(camera: Camera, view: Viewport, shape: Shape): Camera {
  return settle({ x: 0.5, y: camera.y, zoom: 1 }, view, shape);
}

/** Moves as little as needed to bring a rectangle (fractions of the screen) into view with some air around it. */
export function reveal(camera: Camera, target: Rect, view: Viewport, shape: Shape): Camera {
  const from = settle(camera, view, shape);
  const page = place(from, view, shape);
  const left = page.x + target.x * page.w;
  const top = page.y + target.y * page.h;
  const dx = shortfall(left, target.w * page.w, view.w);
  const dy = shortfall(top, target.h * page.h, view.h);
  return dx === 0 && dy === 0 ? from : panBy(from, dx, dy, view, shape);
}

function shortfall(start: number, length: number, room: number): number {
  const air = Math.min(48, room / 6);
  if (start < air) return air - start;
  if (start + length > room - air) return Math.max(room - air - start - length, air - start);
  return 0;
}

export function sameCamera(a: Camera, b: Camera): boolean {
  return a.x === b.x && a.y === b.y && a.zoom === b.zoom;
}
