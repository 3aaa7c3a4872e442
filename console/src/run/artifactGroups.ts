import type { Artifact } from "../api/types";

export function isReport({ name, media_type }: Artifact): boolean {
  return media_type.startsWith("text/markdown") || name.endsWith(".md");
}

/** Put together what is the same in several formats: chart.png and chart.svg. */
export function groupFormats(artifacts: readonly Artifact[]): Artifact[][] {
  const groups = new Map<string, Artifact[]>();
  for (const artifact of artifacts) {
    const isPicture = artifact.media_type.startsWith("image/");
    const stem = isPicture ? artifact.name.replace(/\.[^.]+$/, "") : artifact.id;
    groups.set(stem, [...(groups.get(stem) ?? []), artifact]);
  }
  return [...groups.values()];
}
