import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { address, blobOf, isAbort, jsonOf, needsToken, OfflineError, offline, ProblemError, setToken } from "../src/api/client";
import { fetchActivity } from "../src/api/queries";

const fetched = vi.fn<(request: Request) => Promise<Response>>();

function problem(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), { status, headers: { "content-type": "application/problem+json", ...headers } });
}

beforeEach(() => {
  fetched.mockReset();
  vi.stubGlobal("fetch", fetched);
  setToken(null);
  needsToken.value = false;
  offline.value = false;
});

afterEach(() => {
  vi.unstubAllGlobals();
});

describe("address", () => {
  it("leaves out what is absent and repeats what is many", () => {
    expect(address("/v1/x", { a: "b c", n: 1, none: null, no: undefined, many: ["p", "q"] })).toBe(
      "/v1/x?a=b+c&n=1&many=p&many=q",
    );
    expect(address("/v1/x")).toBe("/v1/x");
  });
});

describe("requests", () => {
  it("carry the token of the tab, and none without one", async () => {
    fetched.mockImplementation(async () => Response.json({}));
    await jsonOf("/v1/status");
    setToken("secret");
    await jsonOf("/v1/status");
    const said = fetched.mock.calls.map(([request]) => request.headers.get("authorization"));
    expect(said).toEqual([null, "Bearer secret"]);
    expect(sessionStorage.getItem("isotherm-token")).toBe("secret");
  });

  it("of the typed client carry it too, with repeated event types", async () => {
    fetched.mockImplementation(async () => Response.json({ steps: [] }));
    setToken("secret");
    await fetchActivity({ client: "acme", from: 0, to: 3_600_000, types: ["click", "touch"] });
    const [request] = fetched.mock.calls[0] as [Request];
    expect(request.headers.get("authorization")).toBe("Bearer secret");
    expect(new URL(request.url).searchParams.getAll("event_type")).toEqual(["click", "touch"]);
  });

  it("become a ProblemError with the server's words", async () => {
    fetched.mockResolvedValue(
      problem(422, { detail: "too old", field: "from", nearest: { from: "x" } }, { "retry-after": "3" }),
    );
    const error = await jsonOf("/v1/heatmap").catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ProblemError);
    expect(error).toMatchObject({ status: 422, detail: "too old", field: "from", nearest: { from: "x" }, wait: 3000 });
    expect(needsToken.value).toBe(false);
  });

  it("become a ProblemError also when the body is none", async () => {
    fetched.mockResolvedValue(new Response("<html>", { status: 502 }));
    await expect(jsonOf("/v1/status")).rejects.toMatchObject({ status: 502, detail: "The server answered 502." });
  });

  it("ask for a token after a 401", async () => {
    fetched.mockResolvedValue(problem(401, { detail: "no token" }));
    await expect(fetchActivity({ client: "acme", from: 0, to: 1 })).rejects.toBeInstanceOf(ProblemError);
    expect(needsToken.value).toBe(true);
  });

  it("tell that nobody answers, until somebody does", async () => {
    fetched.mockRejectedValueOnce(new TypeError("Failed to fetch"));
    await expect(jsonOf("/v1/status")).rejects.toBeInstanceOf(OfflineError);
    expect(offline.value).toBe(true);
    fetched.mockResolvedValueOnce(problem(404, { detail: "no" }));
    await expect(jsonOf("/v1/status")).rejects.toBeInstanceOf(ProblemError);
    expect(offline.value).toBe(false);
  });

  it("that were given up are no news about the server", async () => {
    fetched.mockRejectedValueOnce(new DOMException("given up", "AbortError"));
    const error = await blobOf("/v1/thumbnail", {}, new AbortController().signal).catch((caught: unknown) => caught);
    expect(isAbort(error)).toBe(true);
    expect(offline.value).toBe(false);
  });
});
