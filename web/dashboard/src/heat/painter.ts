import { Canvas2dPainter } from "./canvas2d";
import type { Painter } from "./frame";
import { WebglPainter } from "./webgl";

/**
 * WebGL2 where there is one, else the CPU; the pictures are the same. `onRestored` is called when a lost WebGL context
 * is back and wants to be painted again. Throws where a canvas cannot be painted at all.
 */
export function createPainter(canvas: HTMLCanvasElement, onRestored: () => void): Painter {
  return WebglPainter.on(canvas, onRestored) ?? new Canvas2dPainter(canvas);
}
