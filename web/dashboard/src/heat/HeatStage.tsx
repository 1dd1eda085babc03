import type { Ref } from "preact";
import { useEffect, useImperativeHandle, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { fitWhole, fitWidth, place, reveal, sameCamera, settle, type Viewport, zoomAt } from "./camera";
import { attachGestures, type GestureTarget } from "./gestures";
import "./heat.css";
import { cellAt, cellRect, sameCell } from "./hit";
import { createLook } from "./look";
import { Page } from "./Page";
import type { Painter } from "./frame";
import { createPainter } from "./painter";
import { exportPng, type PngOptions } from "./png";
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
  /** Zooms by a factor at the middle. */
  zoomBy(factor: number): void;
}

/** The stage's size in CSS and in device pixels. */
interface Size {
  readonly view: Viewport;
  readonly device: Viewport;
}

/** Fills its parent, which must have a size. */
export function HeatStage(props: HeatStageProps) {
  const stage = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const size = useSize(stage);
  const latest = useLatest(props, size);
  const target = useMemo(() => createTarget(latest), [latest]);

  useEffect(() => (stage.current === null ? undefined : attachGestures(stage.current, target)), [target]);
  useImperativeHandle(props.handle ?? null, () => createHandle(latest, target), [latest, target]);
  const painting = usePainting(canvas, props, size);

  const page = size === null ? null : place(settle(props.camera, size.view, props.shape), size.view, props.shape);
  const grid = props.map;
  return (
    <div ref={stage} class="heat-stage" tabIndex={0} role="application" aria-roledescription="map" aria-label={props.label}>
      {page !== null && <Page page={page} shape={props.shape} background={props.background} dim={props.dim} />}
      {/* A canvas that had a WebGL context gives no other: the CPU paints on a fresh one. */}
      <canvas key={painting} ref={canvas} class="heat-canvas" aria-hidden="true" />
      {page !== null && grid !== null && props.highlight !== null && (
        <div class="heat-cell" aria-hidden="true" style={boxStyle(cellRect(props.highlight, page, grid))} />
      )}
    </div>
  );
}

function boxStyle(box: { x: number; y: number; w: number; h: number }) {
  return { transform: `translate(${box.x}px, ${box.y}px)`, width: `${box.w}px`, height: `${box.h}px` };
}

interface Latest {
  props: HeatStageProps;
  size: Size | null;
  /** Ahead of props.camera between a gesture and the next render. */
  camera: Camera;
  hovered: Cell | null;
}

function useLatest(props: HeatStageProps, size: Size | null): Latest {
  const ref = useRef<Latest | null>(null);
  ref.current ??= { props, size, camera: props.camera, hovered: null };
  const latest = ref.current;
  latest.props = props;
  latest.size = size;
  latest.camera = props.camera;
  return latest;
}

function useSize(stage: Ref<HTMLDivElement> & { current: HTMLDivElement | null }): Size | null {
  const [size, setSize] = useState<Size | null>(null);
  useLayoutEffect(() => {
    const element = stage.current;
    if (element === null) return undefined;
    const observer = new ResizeObserver(([entry]) => {
      if (entry === undefined) return;
      const { width: w, height: h } = entry.contentRect;
      setSize(w > 0 && h > 0 ? { view: { w, h }, device: devicePixels(entry) } : null);
    });
    observeDevicePixels(observer, element);
    return () => observer.disconnect();
  }, [stage]);
  return size;
}

/** The exact count where the browser has one: it knows how fractions of a pixel are rounded. */
function devicePixels(entry: ResizeObserverEntry): Viewport {
  const w = Math.round(entry.contentRect.width * devicePixelRatio);
  const h = Math.round(entry.contentRect.height * devicePixelRatio);
  const [exact] = entry.devicePixelContentBoxSize ?? [];
  // An emulated pixel ratio is not in that count.
  const agrees = exact !== undefined && Math.abs(exact.inlineSize - w) < 2 && Math.abs(exact.blockSize - h) < 2;
  return agrees ? { w: exact.inlineSize, h: exact.blockSize } : { w, h };
}

/** Device pixels tell of a changed zoom of the browser too, but not every browser counts them. */
function observeDevicePixels(observer: ResizeObserver, element: HTMLElement): void {
  try {
    observer.observe(element, { box: "device-pixel-content-box" });
  } catch {
    observer.observe(element);
  }
}

/** Paints once per frame, and only when something it shows has changed; tells by what. */
function usePainting(
  canvas: { current: HTMLCanvasElement | null },
  props: HeatStageProps,
  size: Size | null,
): "gpu" | "cpu" {
  const painter = useRef<Painter | null>(null);
  const look = useMemo(createLook, []);
  const [restored, setRestored] = useState(0);
  const [by, setBy] = useState<"gpu" | "cpu">("gpu");
  useLayoutEffect(() => {
    const news = { onRestored: () => setRestored((n) => n + 1), onGone: () => setBy("cpu") };
    if (canvas.current !== null) painter.current = createPainter(canvas.current, by === "gpu" ? news : null);
    return () => painter.current?.dispose();
  }, [canvas, by]);

  const { map, shape, style, max, camera } = props;
  useLayoutEffect(() => {
    const element = canvas.current;
    if (element === null || size === null) return undefined;
    const frame = requestAnimationFrame(() => {
      const { view, device } = size;
      if (element.width !== device.w) element.width = device.w;
      if (element.height !== device.h) element.height = device.h;
      const [kx, ky] = [device.w / view.w, device.h / view.h];
      const page = place(settle(camera, view, shape), view, shape);
      painter.current?.paint({
        ...look({ map, shape, style, max }),
        opacity: style.opacity,
        page: { x: page.x * kx, y: page.y * ky, w: page.w * kx, h: page.h * ky },
        density: kx,
      });
    });
    return () => cancelAnimationFrame(frame);
  }, [
    canvas,
    look,
    map,
    shape.w,
    shape.h,
    style.palette,
    style.scale,
    style.radius,
    style.opacity,
    style.contours,
    max,
    camera.x,
    camera.y,
    camera.zoom,
    size,
    restored,
    by,
  ]);
  return by;
}

const NO_VIEW: Viewport = { w: 1, h: 1 };

function createTarget(latest: Latest): GestureTarget {
  const view = (): Viewport => latest.size?.view ?? NO_VIEW;
  const shape = (): Shape => latest.props.shape;
  const camera = (): Camera => settle(latest.camera, view(), shape());
  const move = (next: Camera): void => {
    if (latest.size === null || sameCamera(next, latest.camera)) return;
    latest.camera = next;
    latest.props.onCamera(next);
  };
  const hover = (cell: Cell | null): void => {
    if (sameCell(cell, latest.hovered)) return;
    latest.hovered = cell;
    latest.props.onHover(cell);
  };
  const at = (point: { x: number; y: number }): Cell | null => {
    const { map } = latest.props;
    return map === null ? null : cellAt(point, place(camera(), view(), shape()), map);
  };
  const pick = (cell: Cell | null): void => {
    if (cell !== null) latest.props.onPick?.(cell);
  };
  return {
    view,
    shape,
    camera,
    move,
    hover: (point) => hover(point === null ? null : at(point)),
    pick: (point) => pick(at(point)),
    pickCursor: () => pick(latest.props.highlight ?? latest.hovered),
    step(dx, dy) {
      const { map, highlight } = latest.props;
      if (map === null) return;
      const from = highlight ?? latest.hovered;
      const cell = from === null ? hottest(map) : neighbour(from, dx, dy, map);
      hover(cell);
      const [w, h] = [1 / map.gridW, 1 / map.gridH];
      move(reveal(camera(), { x: cell.x * w, y: cell.y * h, w, h }, view(), shape()));
    },
    fit() {
      const whole = fitWhole(view(), shape());
      move(Math.abs(camera().zoom - whole.zoom) < 1e-9 ? fitWidth(whole, view(), shape()) : whole);
    },
  };
}

function createHandle(latest: Latest, target: GestureTarget): HeatStageHandle {
  return {
    exportPng: (options) => exportPng(latest.props, options),
    fit: () => target.fit(),
    zoomBy(factor) {
      const view = target.view();
      target.move(zoomAt(target.camera(), factor, { x: view.w / 2, y: view.h / 2 }, view, target.shape()));
    },
  };
}

/** Where the cell cursor starts: the largest count says more than a corner. */
function hottest(map: HeatMap): Cell {
  const index = Math.max(0, map.counts.indexOf(map.max));
  return { x: index % map.gridW, y: Math.floor(index / map.gridW) };
}

function neighbour(cell: Cell, dx: number, dy: number, map: HeatMap): Cell {
  return { x: clamped(cell.x + dx, map.gridW), y: clamped(cell.y + dy, map.gridH) };
}

function clamped(index: number, size: number): number {
  return Math.min(Math.max(index, 0), size - 1);
}
