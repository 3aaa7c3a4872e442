/** Charts on a canvas, in the scheme's colours. What they show is in a table beside them, too. */

import {
  BarController,
  BarElement,
  CategoryScale,
  type ChartConfiguration,
  Chart as ChartJs,
  Filler,
  Legend,
  LinearScale,
  LineController,
  LineElement,
  PointElement,
  Tooltip,
} from "chart.js";
import { useEffect, useRef } from "react";
import { useScheme } from "../lib/scheme";

ChartJs.register(
  BarController,
  BarElement,
  CategoryScale,
  Filler,
  Legend,
  LinearScale,
  LineController,
  LineElement,
  PointElement,
  Tooltip,
);

export interface Series {
  name: string;
  values: number[];
}

interface Props {
  kind: "bar" | "line";
  labels: string[];
  series: Series[];
  label: string;
  format?: (value: number) => string;
}

export default function Chart({ kind, labels, series, label, format = String }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const chart = useRef<ChartJs | null>(null);
  const { scheme } = useScheme();

  // biome-ignore lint/correctness/useExhaustiveDependencies: the scheme's colours are read from the page
  useEffect(() => {
    if (!canvas.current) return;
    const made = new ChartJs(canvas.current, configuration(kind, format));
    chart.current = made;
    return () => made.destroy();
  }, [kind, format, scheme]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: another scheme makes another chart
  useEffect(() => {
    const drawn = chart.current;
    if (!drawn) return;
    drawn.data.labels = labels;
    drawn.data.datasets = series.map(({ name, values }, place) => {
      const colour = colourOf(`--series-${(place % 6) + 1}`);
      return {
        label: name,
        data: values,
        backgroundColor: kind === "bar" ? colour : `${colour}22`,
        borderColor: colour,
        borderWidth: kind === "bar" ? 0 : 2,
        borderRadius: 3,
        maxBarThickness: 36,
        pointRadius: values.length < 2 ? 3 : 0,
        tension: 0.25,
        fill: kind === "line",
      };
    });
    drawn.update("none");
  }, [kind, labels, series, scheme]);

  return (
    <div className="chart">
      <canvas ref={canvas} role="img" aria-label={label} />
    </div>
  );
}

function configuration(
  kind: "bar" | "line",
  format: (value: number) => string,
): ChartConfiguration {
  const ink = colourOf("--ink-3");
  const line = colourOf("--line");
  const font = { family: getComputedStyle(document.body).fontFamily, size: 12 };
  const stacked = kind === "bar";
  return {
    type: kind,
    data: { labels: [], datasets: [] },
    options: {
      animation: false,
      responsive: true,
      maintainAspectRatio: false,
      interaction: { mode: "index", intersect: false },
      scales: {
        x: {
          stacked,
          grid: { display: false },
          border: { color: line },
          ticks: { color: ink, font, maxRotation: 0, autoSkipPadding: 16 },
        },
        y: {
          stacked,
          beginAtZero: true,
          grid: { color: line },
          border: { display: false },
          ticks: {
            color: ink,
            font,
            maxTicksLimit: 5,
            precision: kind === "line" ? 0 : undefined,
            callback: (value) => format(Number(value)),
          },
        },
      },
      plugins: {
        legend: {
          align: "start",
          labels: {
            color: ink,
            font,
            boxWidth: 10,
            boxHeight: 10,
            useBorderRadius: true,
            borderRadius: 3,
          },
        },
        tooltip: {
          callbacks: { label: (item) => ` ${item.dataset.label}: ${format(Number(item.raw))}` },
        },
      },
    },
  };
}

function colourOf(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
