import { Check, Copy } from "lucide-react";
import { useState } from "react";

export function CopyButton({ text, label }: { text: string; label: string }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  // Browsers have no clipboard for pages that came by plain HTTP from elsewhere.
  if (!navigator.clipboard) return null;
  return (
    <button
      type="button"
      className="button quiet icon"
      aria-label={copied ? "Copied" : label}
      title={label}
      onClick={copy}
    >
      {copied ? <Check size={15} aria-hidden /> : <Copy size={15} aria-hidden />}
    </button>
  );
}
