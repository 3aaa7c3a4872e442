import { expect, test } from "vitest";
import type { Artifact } from "../api/types";
import { groupFormats, picturesOf } from "./artifactGroups";

const made = (...names: string[]): Artifact[] =>
  names.map((name, place) => ({
    id: String(place),
    name,
    media_type: name.endsWith(".md") ? "text/markdown" : `image/${name.split(".").at(-1)}`,
    size_bytes: 1,
    url: `/${place}`,
    created_at: "2026-11-23T06:39:00Z",
  }));
const ids = (groups: Artifact[][]) => groups.map((group) => group.map(({ id }) => id).join(""));

test("formats of a picture are together, and a picture of the same name is another", () => {
  expect(ids(groupFormats(made("a.png", "a.svg", "b.png")))).toEqual(["01", "2"]);
  expect(ids(groupFormats(made("a.png", "a.png")))).toEqual(["0", "1"]);
  expect(ids(groupFormats(made("a.png", "a.svg", "a.png", "a.svg")))).toEqual(["01", "23"]);
});

test("a report shows the picture that was there when it was made, any other text the newest", () => {
  const all = made("a.png", "one.md", "a.png", "two.md", "b.png", "b.png");
  expect(picturesOf(all, all[1]).get("a.png")).toBe("/0");
  expect(picturesOf(all, all[3]).get("a.png")).toBe("/2");
  expect(picturesOf(all, all[3]).get("b.png")).toBe("/4");
  expect(picturesOf(all).get("b.png")).toBe("/5");
});
