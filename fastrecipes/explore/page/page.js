// Labels for screen readers, which ipywidgets lacks, and the open explorer's name in the address

const LABELLED = '.noUi-handle, .widget-readout' // The parts of a slider

const inAddress = () => (location.hash.match(/^#(\w+)$/) || [])[1]

let wanted = inAddress() || 'quadratic' // The explorer in the address, until it is open or another is selected

function describePictures() {
  for (const picture of document.querySelectorAll('img.fr-picture[title]')) {
    picture.alt = picture.title
    picture.removeAttribute('title')
  }
}

function nameSliders() {
  for (const box of document.querySelectorAll('.widget-inline-hbox')) {
    const label = box.querySelector('.widget-label')
    if (!label || !label.textContent) continue
    for (const part of box.querySelectorAll(LABELLED)) {
      if (part.hasAttribute('aria-label')) continue
      const isNumber = part.matches('.widget-readout')
      part.setAttribute('aria-label', label.textContent + (isNumber ? ', as a number' : ''))
    }
  }
}

function followButton(button) {
  const name = (button.className.match(/fr-to-(\w+)/) || [])[1]
  if (!button.classList.contains('fr-here')) {
    button.removeAttribute('aria-current')
    if (name !== wanted) return
    wanted = null
    button.click()
  } else if (!button.hasAttribute('aria-current')) {
    button.setAttribute('aria-current', 'page')
    document.title = button.textContent + ' · fastrecipes explore'
    if (wanted && wanted !== name) return
    wanted = null
    history.replaceState(null, '', '#' + name)
  }
}

function update() {
  describePictures()
  for (const line of document.querySelectorAll('.fr-status:not([role])')) line.setAttribute('role', 'status')
  nameSliders()
  for (const button of document.querySelectorAll('.fr-nav button')) followButton(button)
}

addEventListener('hashchange', () => {
  wanted = inAddress()
  update()
})
for (const action of ['pointerdown', 'keydown']) document.addEventListener(action, () => { wanted = null }, true)

new MutationObserver(update).observe(document.getElementById('rendered_cells'), {
  subtree: true,
  childList: true,
  attributes: true,
  attributeFilter: ['title', 'class'],
})
