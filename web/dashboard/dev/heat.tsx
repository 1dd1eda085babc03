import { render } from "preact";
import { useMemo, useRef, useState } from "preact/hooks";
import "@fontsource-variable/inter";
import { INITIAL_CAMERA } from "../src/heat/camera";
import { HeatStage, type HeatStageHandle } from "../src/heat/HeatStage";
import type { Cell, HeatStyle, PaletteName, Scale } from "../src/heat/types";
import "../src/styles/tokens.css";
import "./heat.css";
import { madeUp } from "./maps";

// /dev/heat.html?map=dense&w=1440&h=3200&palette=inferno&scale=log&radius=2&contours=1&theme=dark&bg=1
const query = new URLSearchParams(location.search);
const get = (name: string, other: string): string => query.get(name) ?? other;
document.documentElement.dataset["theme"] = get("theme", "light");

function App() {
  const [camera, setCamera] = useState({ ...INITIAL_CAMERA, y: Number(get("y", "0")), zoom: Number(get("zoom", "0")) });
  const [cell, setCell] = useState<Cell | null>(null);
  const handle = useRef<HeatStageHandle>(null);
  const map = useMemo(() => madeUp(get("map", "dense")), []);
  const shape = { w: Number(get("w", "1440")), h: Number(get("h", "3200")) };
  const style: HeatStyle = {
    palette: get("palette", "inferno") as PaletteName,
    scale: get("scale", "log") as Scale,
    radius: Number(get("radius", "2")),
    opacity: Number(get("opacity", "0.9")),
    contours: get("contours", "0") === "1",
  };
  Object.assign(window, { stage: handle, camera, cell });
  return (
    <HeatStage
      map={map}
      shape={shape}
      style={style}
      background={get("bg", "") === "" ? null : get("bg", "")}
      dim={Number(get("dim", "0.35"))}
      camera={camera}
      highlight={cell}
      label="made-up heat"
      handle={handle}
      onCamera={setCamera}
      onHover={setCell}
    />
  );
}

render(<App />, document.getElementById("root")!);
