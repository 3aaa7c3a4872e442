/**
 * Markdown that a model wrote, as HTML that can do nothing. Pictures are those of the run's own
 * artifacts; there are no others, so no text can make the browser ask another host.
 */

import DOMPurify from "dompurify";
import { Marked } from "marked";

const marked = new Marked({
  gfm: true,
  // HTML that stands in the text is shown as text: a reader sees that it is there.
  renderer: { html: ({ text }) => escaped(text) },
});

const ESCAPES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const escaped = (text: string) => text.replace(/[&<>"]/g, (sign) => ESCAPES[sign] ?? sign);

const TAGS = [
  ..."h1 h2 h3 h4 h5 h6 p br hr ul ol li blockquote pre code strong em del a img".split(" "),
  ..."table thead tbody tr th td".split(" "),
];

/** Return safe HTML; `pictures` gives the address of each picture that the text may show. */
export function renderMarkdown(source: string, pictures: ReadonlyMap<string, string>): string {
  const clean = DOMPurify.sanitize(marked.parse(source, { async: false }), {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ["href", "src", "alt", "title", "align", "start"],
    ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|[^:]*$)/i,
  });
  // In a document of its own nothing is loaded: not even a picture that is about to be replaced.
  const { body } = new DOMParser().parseFromString(clean, "text/html");
  for (const image of body.querySelectorAll("img")) bindPicture(image, pictures);
  for (const link of body.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer";
  }
  return body.innerHTML;
}

function bindPicture(image: HTMLImageElement, pictures: ReadonlyMap<string, string>): void {
  const address = pictures.get(nameOf(image.getAttribute("src") ?? ""));
  if (address) image.setAttribute("src", address);
  else image.replaceWith(image.alt ? `[${image.alt}]` : "");
}

function nameOf(address: string): string {
  try {
    return decodeURIComponent(address);
  } catch {
    return address;
  }
}
