// A sheet to draw on, with undo and clear: the front end of `DrawingPad`

const SIZE = 560 // Pixels across the sheet's canvas; CSS sets its width on the page
const SEND_EVERY = 120 // Milliseconds between two messages during drawing

// Draw strokes (lists of points [x, y] in [0, 1]) in white on black, as curves through the midpoints between points
function paint(context, size, strokes, pen) {
  context.fillStyle = '#000'
  context.fillRect(0, 0, size, size)
  context.strokeStyle = '#fff'
  context.fillStyle = '#fff'
  context.lineWidth = pen * size
  context.lineCap = 'round'
  context.lineJoin = 'round'
  for (const stroke of strokes) {
    const points = stroke.map(([x, y]) => [x * size, y * size])
    if (points.length < 3) paintDot(context, points[0], pen * size / 2)
    paintCurve(context, points)
  }
}

function paintDot(context, [x, y], radius) {
  context.beginPath()
  context.arc(x, y, radius, 0, 2 * Math.PI)
  context.fill()
}

function paintCurve(context, points) {
  context.beginPath()
  context.moveTo(...points[0])
  for (let i = 1; i < points.length - 1; i++) {
    const [x, y] = points[i]
    const [nextX, nextY] = points[i + 1]
    context.quadraticCurveTo(x, y, (x + nextX) / 2, (y + nextY) / 2)
  }
  context.lineTo(...points[points.length - 1])
  context.stroke()
}

function makeCanvas(size) {
  const canvas = document.createElement('canvas')
  canvas.width = size
  canvas.height = size
  return canvas
}

function makeButton(label, act) {
  const button = document.createElement('button')
  button.type = 'button'
  button.textContent = label
  button.className = 'fr-button'
  button.addEventListener('click', act)
  return button
}

// The brightness of a square canvas, one byte per pixel
function brightness(context, size) {
  const rgba = context.getImageData(0, 0, size, size).data
  const pixels = new Uint8Array(size * size)
  for (let i = 0; i < pixels.length; i++) pixels[i] = rgba[4 * i]
  return pixels
}

function render({ model, el }) {
  const side = model.get('side')
  const pen = model.get('pen')
  const sheet = makeCanvas(SIZE)
  const wide = sheet.getContext('2d')
  const tiny = makeCanvas(side).getContext('2d', { willReadFrequently: true })
  let strokes = model.get('strokes')
  let pointer = null // The id of the pointer that is drawing
  let timer = null // Timer of the next message

  sheet.className = 'fr-sheet'
  sheet.setAttribute('role', 'img')
  sheet.setAttribute('aria-label', 'Draw a digit here with a mouse, a finger or a pen')

  function show() {
    paint(wide, SIZE, strokes, pen)
    if (strokes.length) return
    wide.fillStyle = '#aab4bd'
    wide.font = '34px sans-serif'
    wide.textAlign = 'center'
    wide.fillText('draw a digit here', SIZE / 2, SIZE / 2)
  }

  function send() {
    clearTimeout(timer)
    timer = null
    paint(tiny, side, strokes, pen)
    model.set('strokes', strokes)
    model.set('pixels', new DataView(brightness(tiny, side).buffer))
    model.save_changes()
  }

  function sendSoon() {
    if (timer === null) timer = setTimeout(send, SEND_EVERY)
  }

  function change(next) {
    strokes = next
    show()
    send()
  }

  function where(event) {
    const box = sheet.getBoundingClientRect()
    const share = (v, from, length) => Math.round(1000 * Math.min(Math.max((v - from) / length, 0), 1)) / 1000
    return [share(event.clientX, box.left, box.width), share(event.clientY, box.top, box.height)]
  }

  sheet.addEventListener('pointerdown', event => {
    if (event.button !== 0 || pointer !== null) return
    event.preventDefault()
    pointer = event.pointerId
    sheet.setPointerCapture(pointer)
    strokes = [...strokes, [where(event)]]
    show()
    sendSoon()
  })

  sheet.addEventListener('pointermove', event => {
    if (event.pointerId !== pointer) return
    const between = event.getCoalescedEvents ? event.getCoalescedEvents() : []
    const points = (between.length ? between : [event]).map(where)
    const last = strokes[strokes.length - 1]
    strokes = [...strokes.slice(0, -1), [...last, ...points]]
    show()
    sendSoon()
  })

  function end(event) {
    if (event.pointerId !== pointer) return
    pointer = null
    send()
  }
  for (const name of ['pointerup', 'pointercancel', 'lostpointercapture']) sheet.addEventListener(name, end)

  function follow() {
    if (pointer !== null || model.get('strokes') === strokes) return
    strokes = model.get('strokes')
    show()
  }
  model.on('change:strokes', follow)

  const buttons = document.createElement('div')
  buttons.className = 'fr-sheet-buttons'
  buttons.append(
    makeButton('undo', () => change(strokes.slice(0, -1))),
    makeButton('clear', () => change([])),
  )
  el.classList.add('fr-pad')
  el.append(sheet, buttons)
  show()

  return () => {
    clearTimeout(timer)
    model.off('change:strokes', follow)
  }
}

export default { render }
