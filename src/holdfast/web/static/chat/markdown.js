/* Markdown to elements. What an answer says is text and nothing else: it is put into text nodes, it names no element,
   no attribute and no address but those made here, and HTML in it is shown as it is written.

   Links open only https and http, say where they lead when their text does not, and tell nobody where they came from.
   Nothing is loaded: a picture is a link. Nesting has a limit, and so has the work: each part is looked at once. */

const DEPTH = 12;
const FENCE = /^ {0,3}(`{3,}|~{3,})([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})[ \t]+(.*)$/;
const RULE = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])[ \t]+(\S.*)$/;
const COLUMN = /^:?-+:?$/;
const ADDRESS = /https?:\/\/[^\s<>"'`\\^{}]+/y;
const ESCAPED = /[\\`*_{}[\]()#+\-.!|~>]/;

function element(tag, ...children) {
  const node = document.createElement(tag);
  node.append(...children);
  return node;
}

/** Put `text` into `node`, set as markdown. `level` is the heading that the answer stands under. */
export function render(node, text, level = 3) {
  node.replaceChildren(...blocks(text.replace(/\r\n?/g, "\n").split("\n"), 0, level));
}

// ---- blocks ---------------------------------------------------------------------------------------------------------

function blocks(lines, depth, level) {
  const nodes = [];
  let at = 0;
  while (at < lines.length) {
    if (!lines[at].trim()) {
      at += 1;
      continue;
    }
    const [node, next] = block(lines, at, depth, level);
    nodes.push(node);
    at = next;
  }
  return nodes;
}

function block(lines, at, depth, level) {
  const line = lines[at];
  const fence = FENCE.exec(line);
  if (fence) return fenced(lines, at, fence);
  const heading = HEADING.exec(line);
  if (heading) {
    return [element(`h${Math.min(6, level + heading[1].length)}`, ...inline(withoutHashes(heading[2]), 0)), at + 1];
  }
  if (RULE.test(line)) return [document.createElement("hr"), at + 1];
  if (depth < DEPTH && QUOTE.test(line)) return quoted(lines, at, depth, level);
  if (depth < DEPTH && ITEM.test(line)) return listed(lines, at, depth, level);
  if (isTable(lines, at)) return table(lines, at);
  return paragraph(lines, at, depth);
}

/** A heading's text without the number signs that may close it. */
function withoutHashes(text) {
  const whole = text.trimEnd();
  const bare = withoutEnd(whole, "#");
  return bare === whole || /\s$/.test(bare) ? bare.trimEnd() : whole;
}

function withoutEnd(text, characters) {
  let end = text.length;
  while (end && characters.includes(text[end - 1])) end -= 1;
  return text.slice(0, end);
}

function fenced(lines, at, fence) {
  let end = at + 1;
  while (end < lines.length && !closes(lines[end], fence[1])) end += 1;
  const code = element("code", lines.slice(at + 1, end).join("\n"));
  const pre = element("pre", code);
  pre.tabIndex = 0; // it scrolls
  const language = fence[2].trim();
  if (language) pre.dataset.language = language.slice(0, 40);
  return [pre, end + 1];
}

function closes(line, fence) {
  const text = line.trim();
  return text.length >= fence.length && text === fence[0].repeat(text.length);
}

function quoted(lines, at, depth, level) {
  let end = at;
  while (end < lines.length && QUOTE.test(lines[end])) end += 1;
  const inner = lines.slice(at, end).map((line) => line.replace(QUOTE, ""));
  return [element("blockquote", ...blocks(inner, depth + 1, level)), end];
}

function listed(lines, at, depth, level) {
  const first = ITEM.exec(lines[at]);
  const ordered = /\d/.test(first[2]);
  const list = document.createElement(ordered ? "ol" : "ul");
  if (ordered) list.start = parseInt(first[2], 10);
  let end = at;
  while (end < lines.length) {
    const item = ITEM.exec(lines[end]);
    if (!item || /\d/.test(item[2]) !== ordered || RULE.test(lines[end])) break;
    const [inner, next] = itemLines(lines, end, item);
    list.append(element("li", ...tight(blocks(inner, depth + 1, level))));
    end = next;
  }
  return [list, end];
}

/** The lines of one item, without its indentation: what is indented under it, over blank lines too. */
function itemLines(lines, at, item) {
  const indent = item[1].length + item[2].length + 1;
  const inner = [item[3]];
  let end = at + 1;
  for (; end < lines.length; end += 1) {
    const line = lines[end];
    const leading = line.length - line.trimStart().length;
    if (!line.trim()) {
      const next = lines[end + 1];
      if (!next?.trim() || next.length - next.trimStart().length < 2) break;
      inner.push("");
    } else if (leading >= 2) inner.push(line.slice(Math.min(leading, indent)));
    else if (starts(lines, end)) break;
    else inner.push(line);
  }
  while (end < lines.length && !lines[end].trim() && ITEM.test(lines[end + 1] ?? "")) end += 1;
  return [inner, end];
}

/** An item of one paragraph is that paragraph's text. */
const tight = (nodes) => nodes.flatMap((node, index) => (index === 0 && node.tagName === "P" ? [...node.childNodes] : [node]));

const starts = (lines, at) =>
  [FENCE, HEADING, RULE, QUOTE, ITEM].some((form) => form.test(lines[at])) || isTable(lines, at);

function isTable(lines, at) {
  const next = lines[at + 1];
  if (!lines[at].includes("|") || !next?.includes("-")) return false;
  const columns = cells(next);
  return columns.length === cells(lines[at]).length && columns.every((text) => COLUMN.test(text));
}

function table(lines, at) {
  let end = at + 2;
  while (end < lines.length && lines[end].includes("|") && lines[end].trim()) end += 1;
  const head = cells(lines[at]);
  const row = (tag, line) =>
    element("tr", ...Array.from(head, (_, index) => element(tag, ...inline(cells(line)[index] ?? "", 0))));
  const body = element("tbody", ...lines.slice(at + 2, end).map((line) => row("td", line)));
  const scroll = element("div", element("table", element("thead", row("th", lines[at])), body));
  scroll.className = "table-scroll";
  scroll.tabIndex = 0;
  return [scroll, end];
}

const cells = (line) =>
  line
    .trim()
    .replace(/^\||\|$/g, "")
    .split("|")
    .map((text) => text.trim());

function paragraph(lines, at, depth) {
  let end = at + 1;
  while (end < lines.length && lines[end].trim() && (depth >= DEPTH || !starts(lines, end))) end += 1;
  const text = lines.slice(at, end).map((line) => line.trim());
  return [element("p", ...inline(text.join("\n"), 0)), end];
}

// ---- inline ---------------------------------------------------------------------------------------------------------

const MARKS = [
  ["**", "strong"],
  ["__", "strong"],
  ["~~", "del"],
  ["*", "em"],
  ["_", "em"],
];

function inline(text, depth) {
  const nodes = [];
  const ahead = new Map(); // where each mark comes next, so that none is looked for twice
  let plain = "";
  let at = 0;
  const push = (node) => {
    if (plain) nodes.push(plain);
    plain = "";
    nodes.push(node);
  };
  while (at < text.length) {
    const found = depth < DEPTH ? piece(text, at, depth, ahead) : null;
    if (found) {
      if (typeof found[0] === "string") plain += found[0];
      else push(found[0]);
      at = found[1];
    } else plain += text[at++];
  }
  if (plain) nodes.push(plain);
  return nodes;
}

/** What begins at `at`, and where it ends; null for a plain character. */
function piece(text, at, depth, ahead) {
  const character = text[at];
  if (character === "\\" && ESCAPED.test(text[at + 1] ?? "")) return [text[at + 1], at + 2];
  if (character === "`") return code(text, at, ahead);
  if (character === "[" || (character === "!" && text[at + 1] === "[")) return link(text, at, depth, ahead);
  if (character === "h" && !/\w/.test(text[at - 1] ?? "")) return bareLink(text, at);
  for (const [mark, tag] of MARKS) {
    if (text.startsWith(mark, at)) {
      const found = marked(text, at, mark, tag, depth, ahead);
      if (found) return found;
    }
  }
  return null;
}

/** Where `what` comes at or after `from`, or -1. */
function find(text, what, from, ahead) {
  const known = ahead.get(what);
  if (known !== undefined && (known < 0 || known >= from)) return known;
  const at = text.indexOf(what, from);
  ahead.set(what, at);
  return at;
}

function code(text, at, ahead) {
  let size = 1;
  while (text[at + size] === "`") size += 1;
  const mark = "`".repeat(size);
  const end = find(text, mark, at + size, ahead);
  if (end < 0) return [mark, at + size];
  const inner = text.slice(at + size, end);
  const spaced = inner.startsWith(" ") && inner.endsWith(" ") && inner.trim();
  return [element("code", spaced ? inner.slice(1, -1) : inner), end + size];
}

function marked(text, at, mark, tag, depth, ahead) {
  const begin = at + mark.length;
  if (!/\S/.test(text[begin] ?? "") || (mark.includes("_") && /\w/.test(text[at - 1] ?? ""))) return null;
  const end = find(text, mark, begin + 1, ahead);
  if (end < 0 || /\s/.test(text[end - 1]) || (mark.includes("_") && /\w/.test(text[end + mark.length] ?? ""))) return null;
  return [element(tag, ...inline(text.slice(begin, end), depth + 1)), end + mark.length];
}

/** `[label](address)`; of brackets in brackets the innermost. */
function link(text, at, depth, ahead) {
  const picture = text[at] === "!";
  const begin = at + (picture ? 2 : 1);
  const middle = find(text, "](", begin, ahead);
  const inner = find(text, "[", begin, ahead);
  const end = middle < 0 || (inner >= 0 && inner < middle) ? -1 : find(text, ")", middle + 2, ahead);
  const url = end < 0 ? null : safe(text.slice(middle + 2, end).trim().split(/\s/, 1)[0]);
  if (!url) return null;
  const label = text.slice(begin, middle);
  return [anchor(url, picture ? [`picture: ${label}`] : inline(label, depth + 1), label), end + 1];
}

function bareLink(text, at) {
  ADDRESS.lastIndex = at;
  const found = ADDRESS.exec(text)?.[0];
  if (!found) return null;
  const address = withoutEnd(found, ".,;:!?)]*_~|");
  const url = safe(address);
  return [url ? anchor(url, [address], address) : address, at + address.length];
}

/** An https or http address without a name or password in it; null for anything else. */
function safe(address) {
  if (!/^https?:\/\//i.test(address) || !URL.canParse(address)) return null;
  const url = new URL(address);
  return url.username || url.password ? null : url;
}

function anchor(url, children, label) {
  const node = element("a", ...children);
  node.href = url.href;
  node.rel = "noopener noreferrer nofollow";
  node.referrerPolicy = "no-referrer";
  node.target = "_blank";
  if (label.includes(url.host)) return node;
  const host = element("span", ` (${url.host})`);
  host.className = "link-host";
  return element("span", node, host);
}
