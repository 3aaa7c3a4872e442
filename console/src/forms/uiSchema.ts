/** Which control each input of a crew gets. */

import type { RJSFSchema, UiSchema } from "@rjsf/utils";

const LONG_CHARACTERS = 300;

export function uiSchemaOf(schema: RJSFSchema): UiSchema {
  const properties = Object.entries(schema.properties ?? {}) as [string, RJSFSchema][];
  return Object.fromEntries(properties.map(([name, part]) => [name, controlOf(part, name)]));
}

function controlOf(schema: RJSFSchema, name = ""): UiSchema {
  if (schema.format === "dataset") return { "ui:widget": "dataset" };
  if (schema.type === "string" && !schema.enum && isLong(schema, name))
    return { "ui:widget": "textarea" };
  if (isFree(schema) || (schema.type === "array" && isFree(schema.items as RJSFSchema)))
    return { "ui:field": "json" };
  if (schema.type === "object") return uiSchemaOf(schema);
  if (schema.type === "array") return { items: controlOf((schema.items ?? {}) as RJSFSchema) };
  return {};
}

function isLong(schema: RJSFSchema, name: string): boolean {
  // However long it may be, an address is one line.
  if (/ur[il]$/i.test(name)) return false;
  if (schema.format === "session-message" || schema.format === "session-history") return true;
  return (schema.maxLength ?? 0) >= LONG_CHARACTERS;
}

/** Anything may be in it, so it is written as JSON. */
function isFree(schema: RJSFSchema | undefined): boolean {
  if (!schema || schema.type === undefined) return !schema?.enum;
  return (
    schema.type === "object" &&
    !schema.properties &&
    typeof schema.additionalProperties !== "object"
  );
}
