/** An input that may hold anything: JSON, checked as it is typed. */

import type { FieldProps } from "@rjsf/utils";
import { useState } from "react";

export function JsonField({
  formData,
  onChange,
  fieldPathId,
  schema,
  name,
  required,
  rawErrors,
}: FieldProps) {
  const [text, setText] = useState(() =>
    formData === undefined ? "" : JSON.stringify(formData, null, 2),
  );
  const [fault, setFault] = useState("");
  const id = fieldPathId.$id;
  const type = (typed: string) => {
    setText(typed);
    try {
      onChange(typed.trim() ? JSON.parse(typed) : undefined, fieldPathId.path);
      setFault("");
    } catch (error) {
      setFault(`Not JSON yet: ${(error as Error).message}`);
    }
  };
  return (
    <div className="field">
      <label htmlFor={id}>
        {schema.title ?? name}
        {required && " *"}
      </label>
      {schema.description && (
        <p className="help" id={`${id}-help`}>
          {schema.description}
        </p>
      )}
      <textarea
        id={id}
        className="input mono"
        rows={5}
        spellCheck={false}
        value={text}
        placeholder={schema.type === "array" ? "[ … ]" : "{ … }"}
        aria-invalid={Boolean(fault || rawErrors?.length)}
        aria-describedby={`${id}-help`}
        onChange={(event) => type(event.target.value)}
      />
      {[fault, ...(rawErrors ?? [])].filter(Boolean).map((words) => (
        <p key={words} className="fault" role="alert">
          {words}
        </p>
      ))}
    </div>
  );
}
