import type { Ref } from "preact";
import type { PngOptions } from "./png";
import type { Camera, Cell, HeatMap, HeatStyle, Shape } from "./types";

export interface HeatStageProps {
  /** null: nothing yet, only the screen is drawn. */
  readonly map: HeatMap | null;
  /** True shape of the screen, in CSS pixels. */
  readonly shape: Shape;
  readonly style: HeatStyle;
  /** Object URL or path of an image, stretched over the screen; null: a blank canvas of the screen's shape. */
  readonly background: string | null;
  /** How far the background recedes, 0..1. */
  readonly dim: number;
  /** May lie out of bounds: it is clamped to what the viewport can show. Start with `INITIAL_CAMERA`. */
  readonly camera: Camera;
  /** Fixed top of the scale (the frames of a time-lapse share one); default map.max. */
  readonly max?: number | undefined;
  /** Drawn as an outlined cell. */
  readonly highlight: Cell | null;
  /** Accessible name of the canvas. */
  readonly label: string;
  /** What a caller can ask the stage to do. */
  readonly handle?: Ref<HeatStageHandle> | undefined;
  onCamera(camera: Camera): void;
  /** The cell under the pointer, or the one the keys moved to (Shift+arrows); null when there is none. */
  onHover(cell: Cell | null): void;
  onPick?(cell: Cell): void;
}

export interface HeatStageHandle {
  /** The whole screen with heat, caption and legend, as a PNG. */
  exportPng(options: PngOptions): Promise<Blob>;
  /** Shows the whole screen; a second time its width. */
  fit(): void;
}

/** Fills its parent, which must have a size. */
export function HeatStage(props: HeatStageProps) {
  return (
    <div class="heat-stage">
      <canvas role="img" aria-label={props.label} />
    </div>
  );
}
