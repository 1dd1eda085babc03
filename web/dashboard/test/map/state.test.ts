import { describe, expect, it } from "vitest";
import { INITIAL_CAMERA } from "../../src/heat/camera";
import {
  type MapValues,
  SPEC,
  defaultKinds,
  kindsOf,
  patchOf,
  rangeOf,
  styleOf,
  whenOf,
} from "../../src/pages/map/state";
import { HOUR } from "../../src/pages/map/time";
import { readSearch, writeSearch } from "../../src/url";

const FROM = Date.parse("2026-11-20T10:00:00Z");
const DEFAULTS: MapValues = readSearch(SPEC, "");

const read = (search: string) => whenOf(readSearch(SPEC, search));

describe("the address", () => {
  it("is empty for the defaults", () => {
    expect(writeSearch(SPEC, "", DEFAULTS)).toBe("");
    expect(DEFAULTS.at).toEqual(INITIAL_CAMERA);
    expect(whenOf(DEFAULTS)).toBe("7d");
  });

  it("restores every state exactly", () => {
    const states: MapValues[] = [
      {
        screen: "/a b/ü?x=1&y=+%/@under-700",
        kind: ["click", "custom.kind-1"],
        ...patchOf({ from: FROM, to: FROM + 5 * HOUR }),
        palette: "cividis",
        scale: "linear",
        radius: 0,
        opacity: 0.4,
        contours: true,
        dim: 0.7,
        at: { x: 0.25, y: 0.1234, zoom: 3.5 },
      },
      { ...DEFAULTS, ...patchOf("hour") },
      { ...DEFAULTS, ...patchOf("day") },
      { ...DEFAULTS, ...patchOf("week") },
      { ...DEFAULTS, ...patchOf("7d") },
    ];
    for (const state of states) expect(readSearch(SPEC, writeSearch(SPEC, "", state))).toEqual(state);
    expect(styleOf(states[0] as MapValues)).toEqual({
      palette: "cividis",
      scale: "linear",
      radius: 0,
      opacity: 0.4,
      contours: true,
    });
  });

  it("takes nonsense for the default", () => {
    const nonsense = "?kind=;DROP,&now=never&palette=rainbow&scale=cube&radius=x&opacity=&dim=1e99x&at=1,2&from=a&to=b";
    const found = readSearch(SPEC, nonsense);
    expect({ ...found, kind: kindsOf(found) }).toEqual(DEFAULTS);
    const far = readSearch(SPEC, "?radius=99&opacity=-1&at=0,0,-1");
    expect([far.radius, far.opacity, far.at]).toEqual([6, 0, INITIAL_CAMERA]);
  });

  it("takes edges off the hour for the hours around them, and a range without an end for its first hour", () => {
    const two = { from: FROM, to: FROM + 2 * HOUR };
    expect(read("?from=2026-11-20T10:20Z&to=2026-11-20T11:01Z")).toEqual(two);
    expect(read("?from=2026-11-20T10:00Z")).toEqual({ from: FROM, to: FROM + HOUR });
    expect(read("?from=2026-11-20T10:00Z&to=2026-11-20T09:00Z")).toBe("7d");
  });

  it("follows the clock only where it says so", () => {
    expect(rangeOf("hour", FROM + 1)).toEqual({ from: FROM, to: FROM + HOUR });
    const fixed = { from: FROM, to: FROM + HOUR };
    expect(rangeOf(fixed, FROM + 99 * HOUR)).toBe(fixed);
  });

  it("names each kind once", () => {
    expect(kindsOf({ kind: ["touch", "click", "touch", "Bad"] })).toEqual(["click", "touch"]);
  });
});

describe("the default kind", () => {
  it("is mouse moves, or what a screen without a mouse has most of", () => {
    expect(defaultKinds(null)).toEqual(["mousemove"]);
    expect(defaultKinds({ mousemove: 1, click: 99 })).toEqual(["mousemove"]);
    expect(defaultKinds({ touch: 40, click: 9, scroll: 90, pageview: 500 })).toEqual(["touch"]);
    expect(defaultKinds({ scroll: 3, zoom: 4, pageview: 500 })).toEqual(["zoom"]);
    expect(defaultKinds({ pageview: 5 })).toEqual(["mousemove"]);
  });
});
