import { createPainter } from "./painter";
import type { Frame } from "./frame";
import { createLook, type Look } from "./look";
import { cssColour } from "./palettes";
import { legendTicks, type Tick } from "./scale";
import type { HeatMap, HeatStyle, Shape } from "./types";

/** What the caption of an exported map says. */
export interface PngOptions {
  /** First line: which screen. */
  readonly title: string;
  /** Second line: kind and range, in words. */
  readonly range: string;
  /** Third line: counts, in words. */
  readonly counts: string;
  readonly theme: "light" | "dark";
  /** Pixels per CSS pixel of the screen, up to 2 (default); less where the picture would grow too large. */
  readonly scale?: number | undefined;
}

/** What is drawn; `HeatStageProps` are such a thing. */
export interface PngScene {
  readonly map: HeatMap | null;
  readonly shape: Shape;
  readonly style: HeatStyle;
  readonly background: string | null;
  readonly dim: number;
  readonly max?: number | undefined;
}

export interface PngLayout {
  /** The whole picture, in pixels. */
  readonly w: number;
  readonly h: number;
  /** Height of the screen's part; the caption is below. */
  readonly mapH: number;
  /** Pixels per unit of the caption's measures. */
  readonly unit: number;
}

const LONGEST_SIDE = 8192;
const MOST_PIXELS = 32e6;
/** Height of the caption, and the width it wants, in its own units. */
const CAPTION = { height: 176, width: 680 } as const;
/** Rows that are painted at once, so that the canvas stays small whatever the picture's size. */
const BAND = 1024;
/** Part of a dimmed background that is left, as on the stage. */
const FAINTEST = 0.12;
const FONT = '"Inter Variable", system-ui, sans-serif';

// As in tokens.css, but the picture may want another theme than the page.
const INKS = {
  light: { surface: "#ffffff", ink: "#1d1a16", soft: "#57514a", border: "#e4e0d9", accent: "#c2410c" },
  dark: { surface: "#1a1816", ink: "#f3efe9", soft: "#bdb5ab", border: "#322e2a", accent: "#fb8c4e" },
} as const;
type Inks = (typeof INKS)[keyof typeof INKS];

/** Sizes of the picture: as large as asked for, within what browsers can hold. */
export function pngLayout(shape: Shape, scale = 2): PngLayout {
  const fitting = (wanted: number): PngLayout => {
    const w = Math.max(1, Math.round(shape.w * wanted));
    const mapH = Math.max(1, Math.round(shape.h * wanted));
    const unit = Math.min(Math.max(w / CAPTION.width, 0.5), 2);
    return { w, h: mapH + Math.round(CAPTION.height * unit), mapH, unit };
  };
  let wanted = Math.min(Math.max(scale, 0.01), 2);
  let layout = fitting(wanted);
  while (layout.w > LONGEST_SIDE || layout.h > LONGEST_SIDE || layout.w * layout.h > MOST_PIXELS) {
    wanted *= 0.98;
    layout = fitting(wanted);
  }
  return layout;
}

/** Throws when the background cannot be read or the browser cannot make the picture. */
export async function exportPng(scene: PngScene, options: PngOptions): Promise<Blob> {
  const layout = pngLayout(scene.shape, options.scale);
  const inks = INKS[options.theme];
  const image = scene.background === null ? null : await load(scene.background);
  // A page that has not shown these weights yet has not fetched them; text in a canvas does not wait for them.
  await Promise.all([400, 600].map((weight) => document.fonts.load(`${weight} 16px ${FONT}`, options.title)));
  await document.fonts.ready;
  const canvas = document.createElement("canvas");
  canvas.width = layout.w;
  canvas.height = layout.h;
  const context = canvas.getContext("2d");
  if (context === null) throw new Error("this browser cannot draw the picture");
  context.fillStyle = inks.surface;
  context.fillRect(0, 0, layout.w, layout.h);
  if (image !== null) {
    context.globalAlpha = 1 - (1 - FAINTEST) * scene.dim;
    context.imageSmoothingQuality = "high";
    context.drawImage(image, 0, 0, layout.w, layout.mapH);
    context.globalAlpha = 1;
  }
  paintHeat(context, layout, createLook()(scene), scene.style.opacity, layout.w / scene.shape.w);
  paintCaption(context, layout, scene, options, inks);
  return await new Promise((resolve, reject) => {
    canvas.toBlob((blob) => {
      if (blob === null) reject(new Error("this browser cannot make a picture of this size"));
      else resolve(blob);
    }, "image/png");
  });
}

async function load(url: string): Promise<HTMLImageElement> {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

function paintHeat(
  context: CanvasRenderingContext2D,
  layout: PngLayout,
  look: Look,
  opacity: number,
  density: number,
): void {
  const band = document.createElement("canvas");
  band.width = layout.w;
  band.height = Math.min(BAND, layout.mapH);
  const painter = createPainter(band, { onRestored: () => undefined, onGone: () => undefined });
  for (let top = 0; top < layout.mapH; top += BAND) {
    const frame: Frame = { ...look, opacity, density, page: { x: 0, y: -top, w: layout.w, h: layout.mapH } };
    painter.paint(frame);
    const rows = Math.min(BAND, layout.mapH - top);
    context.drawImage(band, 0, 0, layout.w, rows, 0, top, layout.w, rows);
  }
  painter.dispose();
}

function paintCaption(
  context: CanvasRenderingContext2D,
  layout: PngLayout,
  scene: PngScene,
  options: PngOptions,
  inks: Inks,
): void {
  context.save();
  context.translate(0, layout.mapH);
  context.scale(layout.unit, layout.unit);
  const width = layout.w / layout.unit;
  context.fillStyle = inks.surface;
  context.fillRect(0, 0, width, CAPTION.height);
  context.fillStyle = inks.border;
  context.fillRect(0, 0, width, 1);
  const [left, right] = [28, width - 28];
  const mark = "Isotherm";
  context.textBaseline = "alphabetic";
  context.font = `600 15px ${FONT}`;
  const markWidth = context.measureText(mark).width;
  context.fillStyle = inks.accent;
  context.fillText(mark, right - markWidth, 42);
  context.fillStyle = inks.ink;
  context.font = `600 20px ${FONT}`;
  context.fillText(shortened(context, options.title, right - left - markWidth - 24), left, 42);
  context.fillStyle = inks.soft;
  context.font = `400 14px ${FONT}`;
  context.fillText(shortened(context, options.range, right - left), left, 68);
  context.fillText(shortened(context, options.counts, right - left), left, 90);
  paintLegend(context, scene, inks, left, right);
  context.restore();
}

function paintLegend(
  context: CanvasRenderingContext2D,
  { map, max, style }: PngScene,
  inks: Inks,
  left: number,
  right: number,
): void {
  const top = max ?? map?.max ?? 0;
  const width = Math.min(right - left, 420);
  for (let i = 0; i < width; i += 1) {
    context.fillStyle = cssColour(style.palette, i / (width - 1));
    context.fillRect(left + i, 112, 1.5, 12);
  }
  context.font = `400 12px ${FONT}`;
  for (const tick of legendTicks(top, style.scale, 5)) paintTick(context, tick, inks, left, width);
  const note = style.scale === "log" ? "per cell, logarithmic" : "per cell";
  if (left + width + 16 + context.measureText(note).width <= right) {
    context.fillStyle = inks.soft;
    context.fillText(note, left + width + 16, 122);
  }
}

function paintTick(context: CanvasRenderingContext2D, tick: Tick, inks: Inks, left: number, width: number): void {
  const at = left + tick.at * width;
  const text = tick.count.toLocaleString("en");
  const half = context.measureText(text).width / 2;
  context.fillStyle = inks.soft;
  context.fillRect(Math.min(at, left + width - 1), 124, 1, 5);
  context.fillText(text, Math.min(Math.max(at - half, left), left + width - 2 * half), 144);
}

/** The text, cut with an ellipsis where it is wider than the room. */
function shortened(context: CanvasRenderingContext2D, text: string, room: number): string {
  if (context.measureText(text).width <= room) return text;
  let length = text.length;
  while (length > 0 && context.measureText(`${text.slice(0, length)}…`).width > room) length -= 1;
  return `${text.slice(0, length)}…`;
}
