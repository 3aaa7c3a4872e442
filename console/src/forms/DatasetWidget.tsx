/** An input that is a dataset: one that is there, or a file that is brought now. */

import type { WidgetProps } from "@rjsf/utils";
import { useQuery } from "@tanstack/react-query";
import { datasetsQuery } from "../api/queries";
import { bytes } from "../lib/format";
import { DatasetUpload } from "./DatasetUpload";

export function DatasetWidget({ id, value, required, onChange, rawErrors }: WidgetProps) {
  const datasets = useQuery(datasetsQuery);
  return (
    <div className="stack tight">
      <select
        id={id}
        className="input"
        required={required}
        value={value ?? ""}
        aria-invalid={Boolean(rawErrors?.length)}
        onChange={(event) => onChange(event.target.value || undefined)}
      >
        <option value="">
          {datasets.data?.length ? "Choose a dataset…" : "No datasets yet: upload one"}
        </option>
        {datasets.data?.map((dataset) => (
          <option key={dataset.id} value={dataset.id}>
            {dataset.name} · {bytes(dataset.size_bytes)}
          </option>
        ))}
      </select>
      <DatasetUpload id={id} onUploaded={(dataset) => onChange(dataset.id)} />
    </div>
  );
}
