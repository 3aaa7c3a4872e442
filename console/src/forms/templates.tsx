/** How the form library draws: our labels, help, faults and buttons. */

import {
  ADDITIONAL_PROPERTY_FLAG,
  type ArrayFieldItemTemplateProps,
  type ArrayFieldTemplateProps,
  type BaseInputTemplateProps,
  canExpand,
  type FieldTemplateProps,
  getInputProps,
  type IconButtonProps,
  type ObjectFieldTemplateProps,
  type TemplatesType,
  type WidgetProps,
} from "@rjsf/utils";
import { Plus, Trash2 } from "lucide-react";

function Field(props: FieldTemplateProps) {
  const {
    id,
    label,
    required,
    rawDescription,
    rawErrors,
    children,
    displayLabel,
    schema,
    uiSchema,
    hidden,
  } = props;
  if (hidden) return <div hidden>{children}</div>;
  // These say their name themselves.
  if (uiSchema?.["ui:field"]) return children;
  const additional = ADDITIONAL_PROPERTY_FLAG in schema;
  const leaf = displayLabel && schema.type !== "boolean";
  return (
    <div className={additional ? "list-item named" : "field"}>
      <div className="field">
        {leaf && !additional && (
          <label htmlFor={id}>
            {label}
            {required && " *"}
          </label>
        )}
        {additional && <KeyInput {...props} />}
        {leaf && rawDescription && (
          <p className="help" id={`${id}__description`}>
            {rawDescription}
          </p>
        )}
        {children}
        {rawErrors?.map((fault) => (
          <p key={fault} className="fault" role="alert">
            {capital(fault)}
          </p>
        ))}
      </div>
      {additional && (
        <button
          type="button"
          className="button quiet icon"
          aria-label={`Remove ${label}`}
          onClick={props.onRemoveProperty}
        >
          <Trash2 size={15} aria-hidden />
        </button>
      )}
    </div>
  );
}

function KeyInput({ id, label, onKeyRenameBlur }: FieldTemplateProps) {
  return (
    <input
      className="input mono"
      aria-label={`Name of ${label}`}
      id={`${id}-key`}
      key={label}
      defaultValue={label}
      onBlur={onKeyRenameBlur}
    />
  );
}

function ObjectField({
  title,
  description,
  properties,
  fieldPathId,
  schema,
  uiSchema,
  formData,
  onAddProperty,
}: ObjectFieldTemplateProps) {
  const whole = fieldPathId.path.length === 0;
  const content = (
    <div className="group">
      {properties.map((property) => (
        <div key={property.name}>{property.content}</div>
      ))}
      {canExpand(schema, uiSchema, formData) && (
        <AddButton words="Add an entry" onClick={onAddProperty} />
      )}
    </div>
  );
  if (whole) return content;
  return (
    <fieldset id={fieldPathId.$id}>
      <legend>{title}</legend>
      {description && <p className="help muted small">{description}</p>}
      {content}
    </fieldset>
  );
}

function ArrayField({
  title,
  schema,
  items,
  canAdd,
  onAddClick,
  fieldPathId,
  rawErrors,
}: ArrayFieldTemplateProps) {
  return (
    <fieldset id={fieldPathId.$id} aria-invalid={Boolean(rawErrors?.length)}>
      <legend>{title}</legend>
      {schema.description && <p className="help muted small">{schema.description}</p>}
      <div className="group">
        {items}
        {canAdd && <AddButton words="Add one" onClick={onAddClick} />}
      </div>
    </fieldset>
  );
}

function ArrayItem({ children, buttonsProps, hasToolbar, index }: ArrayFieldItemTemplateProps) {
  return (
    <div className="list-item">
      <div>{children}</div>
      {hasToolbar && buttonsProps.hasRemove && (
        <button
          type="button"
          className="button quiet icon"
          aria-label={`Remove item ${index + 1}`}
          onClick={buttonsProps.onRemoveItem}
        >
          <Trash2 size={15} aria-hidden />
        </button>
      )}
    </div>
  );
}

function AddButton({ words, onClick }: { words: string; onClick: IconButtonProps["onClick"] }) {
  return (
    <button type="button" className="button" onClick={onClick} style={{ alignSelf: "start" }}>
      <Plus size={15} aria-hidden /> {words}
    </button>
  );
}

function Input(props: BaseInputTemplateProps) {
  const {
    id,
    value,
    required,
    readonly,
    disabled,
    schema,
    options,
    onChange,
    onBlur,
    onFocus,
    type,
    rawErrors,
    placeholder,
  } = props;
  const given = getInputProps(schema, type, options);
  return (
    <input
      {...given}
      id={id}
      className="input"
      aria-label={ADDITIONAL_PROPERTY_FLAG in schema ? `Value of ${props.label}` : undefined}
      required={required}
      readOnly={readonly}
      disabled={disabled}
      placeholder={placeholder}
      value={value ?? ""}
      aria-invalid={Boolean(rawErrors?.length)}
      aria-describedby={schema.description ? `${id}__description` : undefined}
      onChange={(event) =>
        onChange(event.target.value === "" ? options.emptyValue : event.target.value)
      }
      onBlur={(event) => onBlur(id, event.target.value)}
      onFocus={(event) => onFocus(id, event.target.value)}
    />
  );
}

function Textarea({
  id,
  value,
  required,
  onChange,
  options,
  rawErrors,
  schema,
  placeholder,
}: WidgetProps) {
  return (
    <textarea
      id={id}
      className="input"
      rows={3}
      required={required}
      value={value ?? ""}
      placeholder={placeholder}
      maxLength={schema.maxLength}
      aria-invalid={Boolean(rawErrors?.length)}
      aria-describedby={schema.description ? `${id}__description` : undefined}
      onChange={(event) =>
        onChange(event.target.value === "" ? options.emptyValue : event.target.value)
      }
    />
  );
}

function Select({ id, value, required, onChange, options, rawErrors, multiple }: WidgetProps) {
  const choices = options.enumOptions ?? [];
  const chosen = choices.findIndex((choice) => choice.value === value);
  if (multiple) return <Checkboxes id={id} value={value} onChange={onChange} choices={choices} />;
  return (
    <select
      id={id}
      className="input"
      required={required}
      value={chosen}
      aria-invalid={Boolean(rawErrors?.length)}
      onChange={(event) => onChange(choices[Number(event.target.value)]?.value)}
    >
      {(!required || chosen < 0) && <option value={-1}>–</option>}
      {choices.map((choice, place) => (
        <option key={choice.label} value={place}>
          {choice.label}
        </option>
      ))}
    </select>
  );
}

function Checkboxes({
  id,
  value,
  onChange,
  choices,
}: {
  id: string;
  value: unknown[] | undefined;
  onChange: (value: unknown[]) => void;
  choices: { value: unknown; label: string }[];
}) {
  const chosen = value ?? [];
  return (
    <div className="stack tight" id={id}>
      {choices.map((choice) => (
        <label key={choice.label} className="check">
          <input
            type="checkbox"
            checked={chosen.includes(choice.value)}
            onChange={(event) =>
              onChange(
                event.target.checked
                  ? [...chosen, choice.value]
                  : chosen.filter((other) => other !== choice.value),
              )
            }
          />
          {choice.label}
        </label>
      ))}
    </div>
  );
}

function Checkbox({ id, value, label, onChange, schema }: WidgetProps) {
  return (
    <>
      <label className="check" htmlFor={id}>
        <input
          id={id}
          type="checkbox"
          checked={value ?? false}
          onChange={(event) => onChange(event.target.checked)}
        />
        {label}
      </label>
      {schema.description && <p className="help">{schema.description}</p>}
    </>
  );
}

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

export const templates: Partial<TemplatesType> = {
  FieldTemplate: Field,
  ObjectFieldTemplate: ObjectField,
  ArrayFieldTemplate: ArrayField,
  ArrayFieldItemTemplate: ArrayItem,
  BaseInputTemplate: Input,
  ErrorListTemplate: () => null,
};

export const widgets = { TextareaWidget: Textarea, SelectWidget: Select, CheckboxWidget: Checkbox };
