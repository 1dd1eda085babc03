import { Canvas2dPainter } from "./canvas2d";
import type { Painter } from "./frame";
import { type ContextNews, WebglPainter } from "./webgl";

/**
 * WebGL2 where there is one, else the CPU; the pictures are the same. Without `news` it is the CPU: for a canvas that
 * takes the place of one whose WebGL context was lost. Throws where a canvas cannot be painted at all.
 */
export function createPainter(canvas: HTMLCanvasElement, news: ContextNews | null): Painter {
  return (news === null ? null : WebglPainter.on(canvas, news)) ?? new Canvas2dPainter(canvas);
}
