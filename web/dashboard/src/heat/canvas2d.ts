import type { Field } from "./field";
import { CONTOUR_FADE, CONTOUR_HALF_WIDTH, CONTOUR_OPACITY, type Frame, type Painter } from "./frame";
import { LUT_SIZE } from "./palettes";

/** One sample per so many CSS pixels, whatever the screen's density: a smooth field needs no more. */
const STEP = 1;

/** The fallback without WebGL2: the same picture as the shader's, computed on the CPU at a lower resolution. */
export class Canvas2dPainter implements Painter {
  readonly kind = "2d";
  readonly #context: CanvasRenderingContext2D;
  readonly #scratch: HTMLCanvasElement;

  constructor(canvas: HTMLCanvasElement) {
    const context = canvas.getContext("2d");
    if (context === null) throw new Error("this browser paints neither WebGL2 nor 2D canvases");
    this.#context = context;
    this.#scratch = document.createElement("canvas");
  }

  paint(frame: Frame): void {
    const context = this.#context;
    const { canvas } = context;
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (frame.field === null) return;
    if (frame.field.raw) this.#paintRaw(frame, frame.field);
    else this.#paintSmooth(frame, frame.field);
  }

  dispose(): void {
    this.#scratch.width = 0;
    this.#scratch.height = 0;
  }

  #paintRaw(frame: Frame, field: Field): void {
    const context = this.#context;
    const { canvas } = context;
    const { page } = frame;
    // A pixel belongs to the cell that its centre lies in.
    const left = (x: number): number => Math.ceil(page.x + (x * page.w) / field.w - 0.5);
    const top = (y: number): number => Math.ceil(page.y + (y * page.h) / field.h - 0.5);
    const colour = new Uint8ClampedArray(4);
    for (let y = 0; y < field.h; y += 1) {
      if (top(y + 1) <= 0 || top(y) >= canvas.height) continue;
      for (let x = 0; x < field.w; x += 1) {
        const value = field.values[y * field.w + x] as number;
        if (value === 0 || left(x + 1) <= 0 || left(x) >= canvas.width) continue;
        paintPixel(colour, 0, Math.max(value, 1 / (LUT_SIZE - 1)), 0, frame);
        const [r, g, b, a] = colour as unknown as [number, number, number, number];
        context.fillStyle = `rgb(${r} ${g} ${b} / ${a / 255})`;
        context.fillRect(left(x), top(y), left(x + 1) - left(x), top(y + 1) - top(y));
      }
    }
  }

  #paintSmooth(frame: Frame, field: Field): void {
    const { canvas } = this.#context;
    const { page } = frame;
    const left = Math.max(0, Math.floor(page.x));
    const top = Math.max(0, Math.floor(page.y));
    const width = Math.min(canvas.width, Math.ceil(page.x + page.w)) - left;
    const height = Math.min(canvas.height, Math.ceil(page.y + page.h)) - top;
    if (width <= 0 || height <= 0) return;
    const columns = Math.ceil(width / (STEP * frame.density));
    const rows = Math.ceil(height / (STEP * frame.density));
    const stepX = width / columns;
    const stepY = height / rows;
    const xs = taps(columns, (i) => (left + (i + 0.5) * stepX - page.x) / page.w, field.w);
    const ys = taps(rows, (i) => (top + (i + 0.5) * stepY - page.y) / page.h, field.h);
    const values = interpolate(field, xs, ys);
    const image = new ImageData(columns, rows);
    const halfWidth = CONTOUR_HALF_WIDTH * frame.density;
    for (let i = 0; i < values.length; i += 1) {
      const value = values[i] as number;
      if (value <= 0) continue;
      const line = frame.contours.length === 0 ? 0 : contour(values, i, columns, stepX, halfWidth, frame.contours);
      paintPixel(image.data, i, value, line, frame);
    }
    this.#context.imageSmoothingEnabled = true;
    this.#context.imageSmoothingQuality = "medium";
    this.#context.save();
    this.#context.beginPath();
    this.#context.rect(page.x, page.y, page.w, page.h);
    this.#context.clip();
    this.#context.drawImage(this.#filled(image), left, top, width, height);
    this.#context.restore();
  }

  #filled(image: ImageData): HTMLCanvasElement {
    this.#scratch.width = image.width;
    this.#scratch.height = image.height;
    this.#scratch.getContext("2d")?.putImageData(image, 0, 0);
    return this.#scratch;
  }
}

/** What a sample along one axis takes from the lattice: the node before it and four weights. */
interface Taps {
  readonly base: Int32Array;
  readonly weights: Float32Array;
  readonly nodes: number;
}

/** Catmull-Rom weights for samples at `place(i)` (fractions of the screen). */
export function taps(samples: number, place: (i: number) => number, nodes: number): Taps {
  const base = new Int32Array(samples);
  const weights = new Float32Array(samples * 4);
  for (let i = 0; i < samples; i += 1) {
    const at = place(i) * nodes - 0.5;
    const floor = Math.floor(at);
    const t = at - floor;
    const u = 1 - t;
    base[i] = floor;
    weights.set(
      [-0.5 * t * u * u, 1 + 0.5 * t * t * (3 * t - 5), 1 + 0.5 * u * u * (3 * u - 5), -0.5 * u * t * t],
      i * 4,
    );
  }
  return { base, weights, nodes };
}

/** The field at every sample, row by row; never above the largest of the four nodes around it. */
export function interpolate(field: Field, xs: Taps, ys: Taps): Float32Array {
  const columns = xs.base.length;
  const out = new Float32Array(columns * ys.base.length);
  const lines = new Map<number, Line>();
  for (let y = 0; y < ys.base.length; y += 1) {
    const base = ys.base[y] as number;
    for (const known of lines.keys()) if (known < base - 1) lines.delete(known);
    for (let row = base - 1; row <= base + 2; row += 1)
      if (!lines.has(row)) lines.set(row, along(field, Math.min(Math.max(row, 0), field.h - 1), xs));
    const four = [-1, 0, 1, 2].map((offset) => lines.get(base + offset) as Line) as [Line, Line, Line, Line];
    across(out, y * columns, four, ys.weights.subarray(y * 4, y * 4 + 4));
  }
  return out;
}

function across(
  out: Float32Array,
  start: number,
  [a, b, c, d]: readonly [Line, Line, Line, Line],
  w: Float32Array,
): void {
  const [wa, wb, wc, wd] = w as unknown as [number, number, number, number];
  for (let x = 0; x < a.sums.length; x += 1) {
    const sum =
      wa * (a.sums[x] as number) + wb * (b.sums[x] as number) + wc * (c.sums[x] as number) + wd * (d.sums[x] as number);
    const most = Math.max(b.most[x] as number, c.most[x] as number);
    out[start + x] = sum < 0 ? 0 : sum > most ? most : sum;
  }
}

/** One row of the lattice at every sample: interpolated, and the larger of the two nodes around it. */
interface Line {
  readonly sums: Float32Array;
  readonly most: Float32Array;
}

function along(field: Field, row: number, xs: Taps): Line {
  const { base, weights } = xs;
  const sums = new Float32Array(base.length);
  const most = new Float32Array(base.length);
  const last = field.w - 1;
  const nodes = field.values.subarray(row * field.w, (row + 1) * field.w);
  for (let i = 0; i < sums.length; i += 1) {
    const at = base[i] as number;
    const near = nodes[Math.max(0, at)] as number;
    const next = nodes[Math.min(last, at + 1)] as number;
    sums[i] =
      (weights[i * 4] as number) * (nodes[Math.max(0, at - 1)] as number) +
      (weights[i * 4 + 1] as number) * near +
      (weights[i * 4 + 2] as number) * next +
      (weights[i * 4 + 3] as number) * (nodes[Math.min(last, at + 2)] as number);
    most[i] = Math.max(near, next);
  }
  return { sums, most };
}

/** How much of a contour is at sample i, 0 to 1; `step` device pixels apart from its neighbours. */
function contour(
  values: Float32Array,
  i: number,
  columns: number,
  step: number,
  halfWidth: number,
  levels: readonly number[],
): number {
  const value = values[i] as number;
  const slope = Math.hypot((values[i + 1] ?? value) - value, (values[i + columns] ?? value) - value) / step;
  let line = 0;
  for (const level of levels) {
    const away = Math.abs(value - level) / Math.max(slope, 1e-6);
    line = Math.max(line, Math.min(Math.max(halfWidth + 0.5 - away, 0), 1));
  }
  return line;
}

function paintPixel(to: Uint8ClampedArray, i: number, value: number, line: number, frame: Frame): void {
  const place = value * (LUT_SIZE - 1);
  const left = Math.min(Math.floor(place), LUT_SIZE - 2);
  const t = place - left;
  const at = left * 4;
  const { lut } = frame;
  const channel = (offset: number): number =>
    (lut[at + offset] as number) * (1 - t) + (lut[at + 4 + offset] as number) * t;
  const [from, full] = CONTOUR_FADE;
  const lit = line * CONTOUR_OPACITY * Math.min(Math.max((value - from) / (full - from), 0), 1);
  to[i * 4] = channel(0) + (255 - channel(0)) * lit;
  to[i * 4 + 1] = channel(1) + (255 - channel(1)) * lit;
  to[i * 4 + 2] = channel(2) + (255 - channel(2)) * lit;
  to[i * 4 + 3] = channel(3) * frame.opacity;
}
