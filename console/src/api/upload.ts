/** Uploads that say how far they are, which fetch can't. */

import { Problem } from "./problem";
import { isStillSignedIn } from "./session";
import type { Dataset } from "./types";

export async function uploadDataset(
  file: File,
  onProgress: (share: number) => void,
): Promise<Dataset> {
  try {
    return await send(file, onProgress);
  } catch (error) {
    if (error instanceof Problem && error.status === 401 && (await isStillSignedIn()))
      return send(file, onProgress);
    throw error;
  }
}

function send(file: File, onProgress: (share: number) => void): Promise<Dataset> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/v1/datasets");
    request.responseType = "json";
    request.upload.onprogress = ({ loaded, total }) => onProgress(total ? loaded / total : 0);
    request.onerror = () => reject(new Problem(0, "unreachable", "the upload broke off"));
    request.onload = () => {
      const body = request.response;
      if (request.status < 300) resolve(body);
      else
        reject(
          new Problem(
            request.status,
            body?.code ?? "",
            body?.detail ?? "the file was refused",
            body?.errors ?? [],
          ),
        );
    };
    const form = new FormData();
    form.append("file", file);
    request.send(form);
  });
}
