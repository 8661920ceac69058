// types.mjs OPENAPI OUT: the shapes of the API's JSON as TypeScript types, made from its OpenAPI document.
// What is not handled here stops it: a type that is quietly `unknown` would be worse than none.
import { readFileSync, writeFileSync } from "node:fs";

const [, , source, out] = process.argv;

const KNOWN = new Set([
  "type", "properties", "required", "items", "enum", "const", "oneOf", "allOf", "anyOf", "$ref", "additionalProperties", "description",
  // Of values, not of shapes.
  "default", "pattern", "format", "minimum", "maximum", "exclusiveMinimum", "multipleOf", "minItems", "maxItems", "uniqueItems", "minLength", "maxLength", "examples",
]);

/** The TypeScript type of a schema, indented for its place. */
function typeOf(schema, indent, where) {
  for (const word of Object.keys(schema)) {
    if (!KNOWN.has(word)) throw new Error(`${where}: nobody told this script what ${word} means`);
  }
  if (schema.$ref) return reference(schema.$ref, where);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.oneOf || schema.anyOf) return [...new Set((schema.oneOf ?? schema.anyOf).map((one, n) => typeOf(one, indent, `${where} or ${n}`)))].join(" | ");
  if (schema.allOf) {
    const rest = schema.properties ? [objectType(schema, indent, where)] : [];
    return [...schema.allOf.map((one, n) => typeOf(one, indent, `${where} and ${n}`)), ...rest].join(" & ");
  }
  const kinds = [schema.type ?? []].flat();
  if (kinds.length === 0) return schema.properties ? objectType(schema, indent, where) : "unknown";
  return kinds.map((kind) => plainType(kind, schema, indent, where)).join(" | ");
}

/** A whole schema by its name, or a part of one: `Events["events"][number]`. */
function reference(path, where) {
  const parts = path.split("/");
  if (parts.slice(0, 3).join("/") !== "#/components/schemas") throw new Error(`${where}: ${path} is no schema`);
  let type = parts[3];
  for (let at = 4; at < parts.length; at += 1) {
    if (parts[at] === "properties") type = `NonNullable<${type}[${JSON.stringify(parts[at += 1])}]>`;
    else if (parts[at] === "items") type += "[number]";
    else throw new Error(`${where}: what is ${parts[at]} in ${path}?`);
  }
  return type;
}

function plainType(kind, schema, indent, where) {
  switch (kind) {
    case "string": case "boolean": case "null": return kind;
    case "integer": case "number": return "number";
    case "array": return `Array<${typeOf(schema.items ?? {}, indent, `${where}[]`)}>`;
    case "object": return objectType(schema, indent, where);
    default: throw new Error(`${where}: the type ${kind} is none of JSON's`);
  }
}

function objectType(schema, indent, where) {
  const inner = indent + "  ";
  const more = schema.additionalProperties;
  if (!schema.properties) return `Record<string, ${more && more !== true ? typeOf(more, indent, `${where}{}`) : "unknown"}>`;
  const lines = Object.entries(schema.properties).map(([name, field]) => {
    const comment = field.description ? `${inner}/** ${field.description.replaceAll("*/", "*\\/")} */\n` : "";
    const mark = schema.required?.includes(name) ? "" : "?";
    return `${comment}${inner}${/^[a-z_]\w*$/i.test(name) ? name : JSON.stringify(name)}${mark}: ${typeOf(field, inner, `${where}.${name}`)};`;
  });
  return `{\n${lines.join("\n")}\n${indent}}`;
}

/** All of the document's schemas, in its order. */
export function typesOf(document) {
  const parts = Object.entries(document.components.schemas).map(([name, schema]) => {
    const comment = schema.description ? `/** ${schema.description} */\n` : "";
    return `${comment}export type ${name} = ${typeOf(schema, "", name)};`;
  });
  return ["// Made by `npm run types` from the OpenAPI document: do not edit.", ...parts].join("\n\n") + "\n";
}

if (out) writeFileSync(out, typesOf(JSON.parse(readFileSync(source, "utf8"))));
