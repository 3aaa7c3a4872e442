/**
 * Markdown that a model wrote, as HTML that can do nothing. Pictures are those of the run's own
 * artifacts; there are no others, so no text can make the browser ask another host.
 */

import DOMPurify from "dompurify";
import { Marked } from "marked";

const marked = new Marked({ gfm: true });

const TAGS = [
  ..."h1 h2 h3 h4 h5 h6 p br hr ul ol li blockquote pre code strong em del a img".split(" "),
  ..."table thead tbody tr th td".split(" "),
];

/** Return safe HTML; `pictures` gives the address of each picture that the text may show. */
export function renderMarkdown(source: string, pictures: ReadonlyMap<string, string>): string {
  const html = marked.parse(source, { async: false });
  const fragment = DOMPurify.sanitize(html, {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ["href", "src", "alt", "title", "align", "start"],
    ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|[^:]*$)/i,
    RETURN_DOM_FRAGMENT: true,
  });
  for (const image of fragment.querySelectorAll("img")) bindPicture(image, pictures);
  for (const link of fragment.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer";
  }
  const holder = document.createElement("div");
  holder.append(fragment);
  return holder.innerHTML;
}

function bindPicture(image: HTMLImageElement, pictures: ReadonlyMap<string, string>): void {
  const address = pictures.get(decodeURIComponent(image.getAttribute("src") ?? ""));
  if (address) image.src = address;
  else image.replaceWith(document.createTextNode(image.alt ? `[${image.alt}]` : ""));
}
