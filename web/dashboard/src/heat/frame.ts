import type { Rect } from "./camera";
import type { Field } from "./field";

/** One picture: a field, its colours, and where on the canvas the screen lies. */
export interface Frame {
  /** null paints nothing. */
  readonly field: Field | null;
  /** 256 x RGBA, not premultiplied. */
  readonly lut: Uint8ClampedArray;
  /** 0..1. */
  readonly opacity: number;
  /** Places on the scale where a line is drawn; at most `MOST_CONTOURS`. */
  readonly contours: readonly number[];
  /** The whole screen, in device pixels of the canvas; usually larger than the canvas. */
  readonly page: Rect;
  /** Device pixels per CSS pixel. */
  readonly density: number;
}

export const MOST_CONTOURS = 8;
/** Half of a contour's width in CSS pixels, and how much of it is seen. */
export const CONTOUR_HALF_WIDTH = 0.55;
export const CONTOUR_OPACITY = 0.5;
/** Places on the scale between which contours appear: the noise of a few events is not worth a line. */
export const CONTOUR_FADE = [0.125, 0.375] as const;

/** Paints frames on the canvas that it was made for, whose size may change between frames. */
export interface Painter {
  readonly kind: "webgl2" | "2d";
  paint(frame: Frame): void;
  /** Gives back what it holds; not to be used afterwards. */
  dispose(): void;
}
