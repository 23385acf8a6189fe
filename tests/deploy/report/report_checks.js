// What is wrong with a report as it is shown: each function gives a list of sentences, which is empty when all is well.

// The parts of a CSS colour: red, green and blue from 0 to 255, and the opacity.
const channels = color => {
  const found = color.match(/[\d.]+/g).map(Number)
  return found.length < 4 ? [...found, 1] : found
}

const blend = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3]))

// WCAG 2.2's relative luminance, and the contrast of two colours, from 1 to 21.
const luminance = color => color.slice(0, 3)
  .map(part => part / 255)
  .map(part => part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4)
  .reduce((sum, part, i) => sum + part * [.2126, .7152, .0722][i], 0)

const contrast = (one, other) => {
  const [high, low] = [luminance(one), luminance(other)].sort((a, b) => b - a)
  return (high + .05) / (low + .05)
}

const backgroundOf = element => {
  const layers = []
  for (let at = element; at; at = at.parentElement) {
    layers.push(channels(getComputedStyle(at).backgroundColor))
    if (layers.at(-1)[3] === 1) break
  }
  return layers.reverse().reduce((below, layer) => blend(layer, below), [255, 255, 255])
}

// Texts whose contrast is below 4.5, as WCAG's AA asks for (1.4.3).
const illegible = () => {
  const found = []
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  let texts = 0
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement
    if (!text || element.closest('title, desc, style, .hidden') || !element.checkVisibility()) continue
    texts += 1
    const style = getComputedStyle(element), below = backgroundOf(element)
    const reached = contrast(blend(channels(element.closest('svg') ? style.fill : style.color), below), below)
    if (reached < 4.5) found.push(`'${text}' has a contrast of ${reached.toFixed(2)}`)
  }
  return texts > 400 ? found : [`only ${texts} texts were looked at`]
}

// Colours of charts that are not told from their card (1.4.11: below 3).
const faint = () => ['--first', '--second', '--ink', '--muted'].flatMap(name => {
  const figure = document.querySelector('figure')
  const probe = figure.appendChild(document.createElement('i'))
  probe.style.color = `var(${name})`
  const reached = contrast(channels(getComputedStyle(probe).color), backgroundOf(figure))
  probe.remove()
  return reached < 3 ? [`${name} has a contrast of ${reached.toFixed(2)}`] : []
})

// Texts of charts that reach out of their card, or lie on another text.
const misplaced = () => [...document.querySelectorAll('figure')].flatMap(figure => {
  const card = figure.getBoundingClientRect()
  const texts = [...figure.querySelectorAll('svg text')].map(text => [text.textContent, text.getBoundingClientRect()])
  const isOut = box => box.left < card.left || box.right > card.right || box.bottom > card.bottom
  const meet = (a, b) =>
    a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3
  return [
    ...texts.filter(([, box]) => isOut(box)).map(([text]) => `'${text}' is cut off`),
    ...texts.flatMap(([one, a], i) =>
      texts.slice(i + 1).filter(([, b]) => meet(a, b)).map(([other]) => `'${one}' lies on '${other}'`)),
  ]
})

// Numbers that go on in a second line.
const broken = () => [...document.querySelectorAll('td, dd .value, summary')].filter(element => {
  const range = document.createRange()
  range.selectNodeContents(element)
  return /^[\d.,%]+$/.test(element.textContent) && new Set([...range.getClientRects()].map(box => box.top)).size > 1
}).map(element => `${element.textContent} is broken`)

// Elements that reach out of the window, but for those that scroll.
const overflowing = () => [...document.querySelectorAll('body, body *')].filter(element => {
  const box = element.getBoundingClientRect()
  return box.width && box.right > innerWidth + 1 && !element.closest('.scroll, .hidden, svg')
}).map(element => `${element.tagName} ${element.className} reaches out`)
