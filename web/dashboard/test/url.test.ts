import { describe, expect, it } from "vitest";

import { flag, href, instant, list, number, oneOf, readSearch, text, writeSearch } from "../src/url";

const SPEC = {
  q: text(),
  period: oneOf(["24h", "7d"], "7d"),
  radius: number(1.5, 0, 6, 2),
  on: flag(true),
  kinds: list(["mousemove"]),
  from: instant(),
};

describe("readSearch", () => {
  it("gives the defaults for an empty query", () => {
    expect(readSearch(SPEC, "")).toEqual({
      q: "",
      period: "7d",
      radius: 1.5,
      on: true,
      kinds: ["mousemove"],
      from: null,
    });
  });

  it("reads every kind of value", () => {
    expect(readSearch(SPEC, "?q=a+b&period=24h&radius=0.25&on=0&kinds=click,touch&from=2026-02-02T10:00:00Z")).toEqual({
      q: "a b",
      period: "24h",
      radius: 0.25,
      on: false,
      kinds: ["click", "touch"],
      from: Date.UTC(2026, 1, 2, 10),
    });
  });

  it("takes what it cannot read as the default, and numbers into their bounds", () => {
    const found = readSearch(SPEC, "?period=8d&radius=99&from=soon");
    expect(found).toMatchObject({ period: "7d", radius: 6, from: null });
    expect(readSearch(SPEC, "?radius=much").radius).toBe(1.5);
    expect(readSearch(SPEC, "?radius=").radius).toBe(1.5);
  });
});

describe("writeSearch", () => {
  it("leaves defaults out and keeps parameters it does not know", () => {
    expect(writeSearch(SPEC, "?other=1&period=24h", { period: "7d", q: "x" })).toBe("?other=1&q=x");
  });

  it("is empty when nothing is left", () => {
    expect(writeSearch(SPEC, "?q=x", { q: "" })).toBe("");
  });

  it("comes back as it was", () => {
    const values = { q: "ä&b=c", period: "24h", radius: 2.25, on: false, kinds: ["a", "b"], from: 3_600_000 } as const;
    expect(readSearch(SPEC, writeSearch(SPEC, "", values))).toEqual(values);
  });
});

describe("href", () => {
  it("encodes what stands in a path and in a query", () => {
    expect(href.screens("a.b-c")).toBe("/c/a.b-c");
    expect(href.map("acme", "/search?q=1&p=ü")).toBe("/c/acme/map?screen=/search%3Fq%3D1%26p%3D%C3%BC");
    expect(new URL(href.map("acme", "/a b+c"), "http://x").searchParams.get("screen")).toBe("/a b+c");
    expect(href.setup("acme")).toBe("/setup?client=acme");
  });
});
