/** The browser's own dialog: it keeps the focus inside, closes on Escape, and gives focus back. */

import { X } from "lucide-react";
import { type ReactNode, useId, useLayoutEffect, useRef } from "react";

export function Dialog({
  title,
  onClose,
  children,
}: {
  title: string;
  onClose: () => void;
  children: ReactNode;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useId();
  // Closed, not just taken away: that is what gives the focus back.
  useLayoutEffect(() => {
    const opened = dialog.current;
    opened?.showModal();
    return () => opened?.close();
  }, []);
  return (
    <dialog ref={dialog} aria-labelledby={heading} onClose={onClose}>
      <header>
        <h2 id={heading}>{title}</h2>
        <button
          type="button"
          className="button quiet icon"
          aria-label="Close"
          onClick={() => dialog.current?.close()}
        >
          <X size={16} aria-hidden />
        </button>
      </header>
      <div className="body">{children}</div>
    </dialog>
  );
}

/** Ask before something that can't be undone. */
export function Confirm(props: {
  title: string;
  children: ReactNode;
  action: string;
  busy?: boolean;
  onConfirm: () => void;
  onClose: () => void;
}) {
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      <div className="stack tight">{props.children}</div>
      <div className="buttons">
        <button type="button" className="button" onClick={props.onClose}>
          Keep it
        </button>
        <button
          type="button"
          className="button danger"
          disabled={props.busy}
          onClick={props.onConfirm}
        >
          {props.action}
        </button>
      </div>
    </Dialog>
  );
}
