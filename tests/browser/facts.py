"""What is read off a page that a browser has laid out."""

from __future__ import annotations

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
"""Pixels that the page is wider than its window."""

CONTRAST = r"""() => {
  const canvas = document.createElement('canvas'); canvas.width = canvas.height = 1;
  const pen = canvas.getContext('2d', {willReadFrequently: true});
  const known = new Map();
  const rgba = colour => { if (!known.has(colour)) known.set(colour, painted(colour)); return known.get(colour); };
  const painted = colour => { pen.clearRect(0, 0, 1, 1); pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data].map((v, i) => i < 3 ? v : v / 255); };
  const light = ([r, g, b]) => { const f = v => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; };
    return .2126 * f(r) + .7152 * f(g) + .0722 * f(b); };
  const behind = node => { for (; node; node = node.parentElement) {
    const found = rgba(getComputedStyle(node).backgroundColor); if (found[3] > .99) return found; }
    return rgba(getComputedStyle(document.documentElement).colorScheme === 'dark' ? 'black' : 'white'); };
  const low = [];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some(each => each.nodeType === 3 && each.textContent.trim());
    if (!own || !node.getClientRects().length) continue;
    const style = getComputedStyle(node), inSvg = node instanceof SVGElement;
    const ink = rgba(inSvg ? style.fill : style.color), paper = behind(inSvg ? node.closest('figure') : node);
    const [one, other] = [light(ink), light(paper)].sort((a, b) => b - a), ratio = (one + .05) / (other + .05);
    const big = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    if (ratio < (big ? 3 : 4.5)) low.push(`${node.tagName} ${node.className.baseVal ?? node.className} ${ratio.toFixed(2)} ${node.textContent.slice(0, 30)}`);
  }
  return low;
}"""
"""Texts whose contrast is below WCAG 2.2's AA (success criterion 1.4.3): 4.5, or 3 for large ones."""

OUTSIDE = """() => [...document.querySelectorAll('svg text')].filter(each => {
  const text = each.getBoundingClientRect(), picture = each.ownerSVGElement.getBoundingClientRect();
  return text.width && (text.left < picture.left - 2 || text.right > picture.right + 2);
}).map(each => each.textContent)"""
"""Words of charts that stick out of their picture."""

UNNAMED = """() => [...document.querySelectorAll('svg[role=img]')].filter(each =>
  !each.querySelector('title')?.textContent || !each.querySelector('desc')?.textContent).length"""
"""Pictures without a name or a description."""
