/* Sets a text in type without changing it; web/typeset.py says the rules and does the same on the server. */

const PATTERN =
  /(?<block>^```[^\n]*\n[^]*?(?:^```[^\S\n]*$|(?![^])))|(?<code>`[^`\n]+`)|(?<strong>\*\*[^*\n]+\*\*)|(?<heading>^#{1,6} [^\n]+)/gm;

function element(tag, name, ...children) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  node.append(...children);
  return node;
}

const faint = (text) => element("span", "faint", text);

function set(groups, text) {
  if (groups.block) return element("code", "set-block", text);
  if (groups.heading) {
    const size = text.indexOf(" ") + 1;
    return element("strong", "set-heading", faint(text.slice(0, size)), text.slice(size));
  }
  const size = groups.code ? 1 : 2;
  const inner = [faint(text.slice(0, size)), text.slice(size, -size), faint(text.slice(-size))];
  return groups.code ? element("code", "set-code", ...inner) : element("strong", "", ...inner);
}

/** Put `text` into `node`, in type; the node's text content is `text` afterwards. */
export function typeset(node, text) {
  const pieces = [];
  let end = 0;
  for (const match of text.matchAll(PATTERN)) {
    pieces.push(text.slice(end, match.index), set(match.groups, match[0]));
    end = match.index + match[0].length;
  }
  node.replaceChildren(...pieces, text.slice(end));
}
