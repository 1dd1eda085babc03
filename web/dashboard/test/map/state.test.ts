import { describe, expect, it } from "vitest";
import { DEFAULTS, type MapState, defaultKinds, formatState, parseState, rangeOf } from "../../src/pages/map/state.ts";
import { HOUR } from "../../src/pages/map/time.ts";

const FROM = Date.parse("2026-11-20T10:00:00Z");

describe("the address", () => {
  it("is empty for the defaults", () => {
    expect(formatState(DEFAULTS).toString()).toBe("");
    expect(parseState(new URLSearchParams())).toEqual(DEFAULTS);
  });

  it("restores every state exactly", () => {
    const states: MapState[] = [
      {
        screen: "/a b/ü?x=1&y=+%/@under-700",
        kinds: ["click", "custom.kind-1"],
        when: { from: FROM, to: FROM + 5 * HOUR },
        style: { palette: "cividis", scale: "linear", radius: 0, opacity: 0.4 },
        contours: true,
        dim: 0.7,
        camera: { x: 0.25, y: 0.1234, zoom: 3.5 },
      },
      ...(["hour", "day", "week", "7d"] as const).map((when) => ({ ...DEFAULTS, when })),
    ];
    for (const state of states) {
      expect(parseState(new URLSearchParams(formatState(state).toString()))).toEqual(state);
    }
  });

  it("takes nonsense for the default, and edges off the hour for the hours around them", () => {
    const nonsense = "kind=;DROP,&now=never&palette=rainbow&scale=cube&radius=x&opacity=&dim=1e99x&at=1,2&from=a&to=b";
    expect(parseState(new URLSearchParams(nonsense))).toEqual(DEFAULTS);
    const off = parseState(new URLSearchParams("from=2026-11-20T10:20Z&to=2026-11-20T11:01Z"));
    expect(off.when).toEqual({ from: FROM, to: FROM + 2 * HOUR });
    const turned = parseState(new URLSearchParams("from=2026-11-20T10:00Z&to=2026-11-20T09:00Z"));
    expect(turned.when).toBe("7d");
    const one = parseState(new URLSearchParams("from=2026-11-20T10:00Z"));
    expect(one.when).toEqual({ from: FROM, to: FROM + HOUR });
    const far = parseState(new URLSearchParams("radius=99&opacity=-1"));
    expect([far.style.radius, far.style.opacity]).toEqual([6, 0]);
  });

  it("follows the clock only where it says so", () => {
    expect(rangeOf({ ...DEFAULTS, when: "hour" }, FROM + 1)).toEqual({ from: FROM, to: FROM + HOUR });
    const fixed = { from: FROM, to: FROM + HOUR };
    expect(rangeOf({ ...DEFAULTS, when: fixed }, FROM + 99 * HOUR)).toBe(fixed);
  });
});

describe("the default kind", () => {
  it("is mouse moves, or what a screen without a mouse has most of", () => {
    expect(defaultKinds(null)).toEqual(["mousemove"]);
    expect(defaultKinds({ mousemove: 1, click: 99 })).toEqual(["mousemove"]);
    expect(defaultKinds({ touch: 40, click: 9, pageview: 500 })).toEqual(["touch"]);
    expect(defaultKinds({ pageview: 5 })).toEqual(["mousemove"]);
  });
});
