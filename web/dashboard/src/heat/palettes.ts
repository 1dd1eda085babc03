import type { PaletteName } from "./types";

/** Entries of a colour table; between them both renderers interpolate straight. */
export const LUT_SIZE = 256;

export type Rgb = readonly [number, number, number];

interface Palette {
  /** Evenly spaced sRGB colours, straight lines between them. */
  readonly stops: string;
  /** Where on the published palette the scale begins: its black end would look like dirt on a page. */
  readonly from: number;
}

// inferno, magma and viridis (S. van der Walt, N. Smith) and cividis (J. Nunez, C. Anderton, R. Renslow, "Optimizing
// colormaps with consideration for color vision deficiency", PLOS ONE 13(7), 2018): every 17th of the 256 colours
// published with matplotlib, which dedicates them to the public domain (CC0). "classic" is ours: the traffic-light
// colours that people know from other heatmaps; neither uniform nor safe for colour-blind readers.
const PALETTES: Readonly<Record<PaletteName, Palette>> = {
  inferno: {
    stops:
      "0000040c0826240c4f420a685d126e781c6d932667ae305cc73e4cdd513aed6925f8850ffca50afac62df2e661fcffa4",
    from: 0.2,
  },
  magma: {
    stops:
      "0000040b092420114b3b0f7057157e721f818c2981a8327dc43c75de4968f1605dfa7f5efe9f6dfebf84fddea0fcfdbf",
    from: 0.2,
  },
  viridis: {
    stops:
      "440154481a6c472f7d41448739568c31688e2a788e23888e1f988b22a88435b77954c5687ad151a5db36d2e21bfde725",
    from: 0,
  },
  cividis: {
    stops:
      "00224e002e6c1e3a6f35456c47516c575d6d666970757575848279948e77a59c74b7a96ec8b866dbc75aeed649fee838",
    from: 0,
  },
  classic: { stops: "2438c92a6df41fb5e42bcf9a57d84bc6e034fbd324fb8f1af0501ad11a1a", from: 0 },
};

export const PALETTE_NAMES: readonly PaletteName[] = ["inferno", "viridis", "cividis", "magma", "classic"];

/** The colour at a place of the scale, 0 to 1, without transparency; sRGB 0..255, not rounded. */
export function colourAt(name: PaletteName, t: number): Rgb {
  const { stops, from } = PALETTES[name];
  const last = stops.length / 6 - 1;
  const place = (from + (1 - from) * Math.min(Math.max(t, 0), 1)) * last;
  const left = Math.min(Math.floor(place), last - 1);
  const channel = (offset: number): number => {
    const low = Number.parseInt(stops.slice(left * 6 + offset, left * 6 + offset + 2), 16);
    const high = Number.parseInt(stops.slice(left * 6 + 6 + offset, left * 6 + 8 + offset), 16);
    return low + (high - low) * (place - left);
  };
  return [channel(0), channel(2), channel(4)];
}

/**
 * How much of the page the heat covers at a place of the scale, 0 to 1. Smooth fields fade in from nothing, so that
 * they have no edge; a raw cell that has any count must be seen, so raw cells begin higher.
 */
export function alphaAt(t: number, raw: boolean): number {
  if (t <= 0) return 0;
  const place = Math.min(t, 1);
  if (raw) return 0.5 + 0.45 * place;
  // The toe keeps the far end of a bell from being seen as a ring.
  const toe = Math.min(place / 0.04, 1);
  return 0.94 * toe * toe * (3 - 2 * toe) * (1 - (1 - Math.min(place / 0.7, 1)) ** 1.7);
}

/** 256 x RGBA, 0..255, not premultiplied; entry 0 is transparent. */
export function lookupTable(name: PaletteName, raw: boolean): Uint8ClampedArray {
  const table = new Uint8ClampedArray(LUT_SIZE * 4);
  for (let i = 0; i < LUT_SIZE; i += 1) {
    const t = i / (LUT_SIZE - 1);
    table.set([...colourAt(name, t), 255 * alphaAt(t, raw)], i * 4);
  }
  return table;
}

/** CSS colour of a swatch. */
export function cssColour(name: PaletteName, t: number): string {
  const [r, g, b] = colourAt(name, t);
  return `rgb(${Math.round(r)} ${Math.round(g)} ${Math.round(b)})`;
}

/** CSS image of the scale from 0 (left) to its top (right), opaque; for legends and palette pickers. */
export function cssGradient(name: PaletteName, direction = "to right"): string {
  const colours = Array.from({ length: 17 }, (_, i) => cssColour(name, i / 16));
  return `linear-gradient(${direction}, ${colours.join(", ")})`;
}
