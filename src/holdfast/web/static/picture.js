/* Images that come with an answer. Shown are bytes that stand in the answer itself and begin as the image they are
   called: nothing is fetched, and SVG, which is a program, is none of the four kinds. */

const URL_OF_IMAGE = /^data:image\/(png|jpeg|webp|gif);base64,([A-Za-z0-9+/]+={0,2})$/;
const BEGINS = {
  png: /^\x89PNG\r\n\x1a\n/,
  jpeg: /^\xff\xd8\xff/,
  gif: /^GIF8[79]a/,
  webp: /^RIFF[^]{4}WEBP/,
};

/** The kind of image that a URL holds, or null. */
export function kindOf(url) {
  const found = typeof url === "string" ? URL_OF_IMAGE.exec(url) : null;
  if (!found || found[2].length % 4) return null;
  return BEGINS[found[1]].test(atob(found[2].slice(0, 16))) ? found[1] : null;
}

/** The URLs in a message's `images`, of whatever shape, in order. */
export function urlsOf(images) {
  return Array.isArray(images) ? images.map((image) => String(image?.image_url?.url ?? "")) : [];
}

/** Figures for the images of an answer; `alt` is what was asked for. */
export function figures(urls, alt) {
  return urls.map((url, index) => {
    const kind = kindOf(url);
    const figure = document.createElement("figure");
    figure.className = "picture";
    if (!kind) {
      figure.textContent = "Something stands here that is no image whose bytes came with the answer; it is not shown.";
      return figure;
    }
    const image = document.createElement("img");
    image.alt = alt;
    image.src = url;
    const whole = document.createElement("button");
    whole.type = "button";
    whole.className = "picture-whole";
    whole.setAttribute("aria-pressed", "false");
    whole.title = "Full size";
    whole.append(image);
    whole.addEventListener("click", () => {
      const on = figure.classList.toggle("whole");
      whole.setAttribute("aria-pressed", String(on));
    });
    const save = document.createElement("a");
    save.className = "button button-quiet";
    save.href = url;
    save.download = `image-${index + 1}.${kind}`;
    save.textContent = "Download";
    figure.append(whole, save);
    return figure;
  });
}
