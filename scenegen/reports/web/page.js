// What both pages need: text into elements. Nothing from a file is ever taken for markup.
"use strict";

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = String(text);
  if (className) made.className = className;
  return made;
}

function byId(id) {
  return document.getElementById(id);
}

function spell(value, digits = 4) {
  if (value === null || value === undefined) return "";
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e5 || size < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(digits)));
}

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function numberItem(value, label, className) {
  const item = element("li");
  item.append(element("b", value, className), element("span", label));
  return item;
}
