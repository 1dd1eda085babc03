// A page with nothing but the stage, for tests/browser/test_heat.py: `show` changes what it is given, `seen` is what
// it said.
import { render } from "preact";
import { INITIAL_CAMERA } from "../../../src/heat/camera";
import { heatMapFromColumns, type Columns } from "../../../src/heat/columns";
import { HeatStage, type HeatStageHandle, type HeatStageProps } from "../../../src/heat/HeatStage";
import type { PngOptions } from "../../../src/heat/png";
import type { Camera, Cell } from "../../../src/heat/types";
import "../../../src/styles/tokens.css";
import "./stage.css";

type Given = Omit<HeatStageProps, "onCamera" | "onHover" | "onPick" | "handle">;

const seen: { camera: Camera | null; hovered: (Cell | null)[]; picked: Cell[] } = {
  camera: null,
  hovered: [],
  picked: [],
};
let given: Given = {
  map: null,
  shape: { w: 1000, h: 1000 },
  style: { palette: "inferno", scale: "log", radius: 2, opacity: 1 },
  background: null,
  dim: 0,
  camera: INITIAL_CAMERA,
  highlight: null,
  label: "Heat of the test page",
};
let stage: HeatStageHandle | null = null;

function Bench() {
  return (
    <HeatStage
      {...given}
      handle={(made) => {
        stage = made;
      }}
      onCamera={(camera) => {
        seen.camera = camera;
        show({ camera });
      }}
      onHover={(cell) => {
        seen.hovered.push(cell);
        show({ highlight: cell });
      }}
      onPick={(cell) => seen.picked.push(cell)}
    />
  );
}

function show(more: Partial<Given> & { columns?: Columns }): void {
  const { columns, ...rest } = more;
  given = { ...given, ...rest, ...(columns === undefined ? {} : { map: heatMapFromColumns(columns) }) };
  render(<Bench />, document.querySelector("main") ?? document.body);
}

async function png(options: PngOptions): Promise<string> {
  if (stage === null) throw new Error("no stage yet");
  const blob = await stage.exportPng(options);
  const bytes = new Uint8Array(await blob.arrayBuffer());
  return btoa(Array.from(bytes, (byte) => String.fromCodePoint(byte)).join(""));
}

Object.assign(window, { show, seen, png, fit: () => stage?.fit() });
show({});
