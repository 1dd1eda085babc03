import { useState } from "preact/hooks";
import type { Rect } from "./camera";
import type { Shape } from "./types";

interface PageProps {
  /** Where the screen lies in the viewport. */
  readonly page: Rect;
  readonly shape: Shape;
  readonly background: string | null;
  readonly dim: number;
}

/** Of a wholly dimmed background so much is left. */
const FAINTEST = 0.12;
/** Ruler marks are at least this many viewport pixels apart. */
const MARK_GAP = 90;

/** The screen under the heat: its picture, or a blank sheet of its shape with a ruler. */
export function Page({ page, shape, background, dim }: PageProps) {
  const [broken, setBroken] = useState<string | null>(null);
  const style = {
    transform: `translate(${page.x}px, ${page.y}px)`,
    width: `${page.w}px`,
    height: `${page.h}px`,
  };
  if (background === null || background === broken)
    return (
      <div class="heat-page" aria-hidden="true" style={style}>
        {marks(page, shape).map(({ pixels, at }) => (
          <span key={pixels} class="heat-mark" style={{ transform: `translateY(${at}px)` }}>
            {pixels.toLocaleString("en")}
          </span>
        ))}
      </div>
    );
  return (
    <div class="heat-page" aria-hidden="true" style={style}>
      <img
        src={background}
        alt=""
        decoding="async"
        draggable={false}
        style={{ opacity: String(1 - (1 - FAINTEST) * dim) }}
        onError={() => setBroken(background)}
      />
    </div>
  );
}

/** Round numbers of CSS pixels down the screen, with their places. */
function marks(page: Rect, shape: Shape): { pixels: number; at: number }[] {
  const perPixel = page.h / shape.h;
  const step = [50, 100, 200, 500, 1000, 2000, 5000, 10000].find((s) => s * perPixel >= MARK_GAP) ?? 20000;
  return Array.from({ length: Math.max(0, Math.ceil(shape.h / step) - 1) }, (_, i) => {
    const pixels = (i + 1) * step;
    return { pixels, at: pixels * perPixel };
  });
}
