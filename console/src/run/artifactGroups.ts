import type { Artifact } from "../api/types";

/**
 * Put together what is the same in several formats: chart.png and chart.svg. A run may make
 * several of one name; those are several pictures.
 */
export function groupFormats(artifacts: readonly Artifact[]): Artifact[][] {
  const groups: Artifact[][] = [];
  const newest = new Map<string, Artifact[]>();
  for (const artifact of artifacts) {
    const isPicture = artifact.media_type.startsWith("image/");
    const stem = isPicture ? artifact.name.replace(/\.[^.]+$/, "") : artifact.id;
    const group = newest.get(stem);
    if (group && !group.some(({ name }) => name === artifact.name)) {
      group.push(artifact);
    } else {
      const next = [artifact];
      newest.set(stem, next);
      groups.push(next);
    }
  }
  return groups;
}

/**
 * Return the address of each picture that a text may show, by name; `artifacts` are in the order
 * of their making. Of several with one name a report shows the newest that was there when it was
 * made, or the first after it where none was; any other text shows the newest.
 */
export function picturesOf(
  artifacts: readonly Artifact[],
  report?: Artifact,
): ReadonlyMap<string, string> {
  const pictures = new Map<string, string>();
  const made = report ? artifacts.findIndex(({ id }) => id === report.id) : -1;
  artifacts.forEach(({ name, url, media_type }, place) => {
    if (!media_type.startsWith("image/")) return;
    const came = made >= 0 && place > made;
    if (!came || !pictures.has(name)) pictures.set(name, url);
  });
  return pictures;
}
