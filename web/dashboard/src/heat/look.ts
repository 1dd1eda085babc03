import { buildField, type Field } from "./field";
import { MOST_CONTOURS } from "./frame";
import { lookupTable } from "./palettes";
import { legendTicks } from "./scale";
import type { HeatMap, HeatStyle, PaletteName, Scale, Shape } from "./types";

/** What a map looks like, wherever it is drawn. */
export interface Look {
  readonly field: Field | null;
  readonly lut: Uint8ClampedArray;
  readonly contours: readonly number[];
}

export interface LookOptions {
  readonly map: HeatMap | null;
  readonly shape: Shape;
  readonly style: HeatStyle;
  readonly max?: number | undefined;
}

/** Makes looks, and only those parts anew that have changed since the last one. */
export function createLook(): (options: LookOptions) => Look {
  const field = remember(
    (map: HeatMap | null, ratio: number, max: number, scale: Scale, radius: number): Field | null =>
      map === null ? null : buildField(map, { scale, radius, max, shape: { w: 1, h: ratio } }),
  );
  const lut = remember((palette: PaletteName, raw: boolean) => lookupTable(palette, raw));
  const contours = remember((max: number, scale: Scale) =>
    legendTicks(max, scale, MOST_CONTOURS)
      .slice(0, -1)
      .map((tick) => tick.at)
      .slice(-MOST_CONTOURS),
  );
  return ({ map, shape, style, max }) => {
    const top = max ?? map?.max ?? 0;
    return {
      field: field(map, shape.h / shape.w, top, style.scale, style.radius),
      lut: lut(style.palette, style.radius <= 0),
      contours: style.contours === true ? contours(top, style.scale) : [],
    };
  };
}

/** The last answer, as long as the arguments stay the same. */
function remember<A extends readonly unknown[], R>(make: (...args: A) => R): (...args: A) => R {
  let last: { readonly args: A; readonly made: R } | null = null;
  return (...args) => {
    if (last === null || args.some((arg, i) => arg !== last?.args[i])) last = { args, made: make(...args) };
    return last.made;
  };
}
