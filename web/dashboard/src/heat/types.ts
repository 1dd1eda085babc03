/** The words of the map: what the data layer hands to the renderer. */

/** Counts per cell of one screen. `counts` has length gridW * gridH, index cell_y * gridW + cell_x. */
export interface HeatMap {
  readonly gridW: number;
  readonly gridH: number;
  readonly counts: Float64Array;
  readonly total: number;
  readonly max: number;
}

/** Size of a screen in CSS pixels; only the ratio and the labels depend on it. */
export interface Shape {
  readonly w: number;
  readonly h: number;
}

export type Scale = "linear" | "log";

export type PaletteName = "inferno" | "viridis" | "cividis" | "magma" | "classic";

/**
 * How counts become colours. `radius` is the blur in cells (at that distance from a lone cell its colour has fallen to
 * half of its way up the scale), 0 shows raw cells; `opacity` lies in [0, 1]; `contours` draws isotherms, thin lines
 * of equal count at the legend's round numbers (only with a radius above 0).
 */
export interface HeatStyle {
  readonly palette: PaletteName;
  readonly scale: Scale;
  readonly radius: number;
  readonly opacity: number;
  readonly contours?: boolean;
}

/** What part of the screen is seen: its centre as a fraction of the screen, and the zoom (1 fits the width, 0 is the opening view). */
export interface Camera {
  readonly x: number;
  readonly y: number;
  readonly zoom: number;
}

export interface Cell {
  readonly x: number;
  readonly y: number;
}
