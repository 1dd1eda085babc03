import { describe, expect, it } from "vitest";

import type { Sdk } from "../../src/api/types";
import {
  type Choices,
  clientIdProblem,
  curlFor,
  moduleFor,
  policyFor,
  regionProblem,
  screenIdProblem,
  tagFor,
} from "../../src/pages/setup/snippets";

const SDK: Sdk = {
  version: "0.1.0",
  path: "/isotherm.js",
  versioned_path: "/isotherm-0.1.0-abcd.js",
  integrity: "sha384-x",
  bytes: 1,
  gzip_bytes: 1,
  collector_url: "https://c.example",
  snippet: "",
};
const PLAIN: Choices = { client: "acme", breakpoint: null, region: "", screen: "" };

function tag(choices: Choices): HTMLScriptElement {
  const parsed = new DOMParser().parseFromString(`<head>${tagFor(SDK, choices)}</head>`, "text/html");
  return parsed.querySelector("script") as HTMLScriptElement;
}

describe("client id", () => {
  it.each(["a", "acme", "My.site_2-x", "9", "a".repeat(64)])("%s is good", (id) => {
    expect(clientIdProblem(id)).toBeUndefined();
  });

  it.each(["-a", ".a", "a b", "a/b", "ä", "a".repeat(65), "demo-simulated"])("%s is not", (id) => {
    expect(clientIdProblem(id)).toBeTypeOf("string");
  });
});

describe("screen and region", () => {
  it("are judged before they are copied", () => {
    expect(screenIdProblem("/pricing")).toBeUndefined();
    expect([screenIdProblem("a|b"), screenIdProblem("a\nb"), screenIdProblem("ä".repeat(129))].every(Boolean)).toBe(true);
    expect(regionProblem("#app > main")).toBeUndefined();
  });
});

describe("the tag", () => {
  it("has the versioned name, its hash, and CORS for it", () => {
    const script = tag(PLAIN);
    expect(script.getAttribute("src")).toBe("https://c.example/isotherm-0.1.0-abcd.js");
    expect(script.getAttribute("integrity")).toBe("sha384-x");
    expect(script.getAttribute("crossorigin")).toBe("anonymous");
    expect(script.hasAttribute("async")).toBe(true);
    expect({ ...script.dataset }).toEqual({ endpoint: "https://c.example", client: "acme" });
  });

  it("says the choices, whatever is in them", () => {
    const choices = { client: "acme", breakpoint: 700, region: '[data-app="x"] > b', screen: 'a "b" <c> & d' };
    expect({ ...tag(choices).dataset }).toMatchObject({
      breakpoints: "700",
      region: choices.region,
      screen: choices.screen,
    });
  });
});

describe("the other ways", () => {
  it("the module says the same choices", () => {
    const code = moduleFor(SDK, { client: "acme", breakpoint: 700, region: "#a", screen: "" });
    const options = /init\((\{[\s\S]*?\n\})\)/.exec(code)?.[1] ?? "";
    const json = options.replaceAll(/^ {2}(\w+):/gm, '"$1":').replace(/,\n\}/, "}");
    expect(JSON.parse(json)).toEqual({ endpoint: "https://c.example", client: "acme", region: "#a", breakpoints: [700] });
  });

  it("the policy names the collector for scripts and for requests", () => {
    expect(policyFor(SDK)).toBe("script-src https://c.example;\nconnect-src https://c.example;");
  });

  it("curl's body is JSON once the shell has put the time in", () => {
    const body = /-d '([\s\S]*)'$/.exec(curlFor("http://c", "acme", "it's"))?.[1] ?? "";
    const event = JSON.parse(body.replace(/'\$\(.*?\)'/, "2026-01-01T00:00:00Z")) as { screen_id: string; events: unknown[] };
    expect(event).toMatchObject({ client_id: "acme", screen_id: "it's" });
    expect(event.events).toHaveLength(1);
  });
});
