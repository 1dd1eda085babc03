import type { Camera, Shape } from "./types";

/** Top of the screen at full width: right for every viewport, since the stage clamps it. */
export const INITIAL_CAMERA: Camera = { x: 0.5, y: 0, zoom: 1 };
export type { Shape };
