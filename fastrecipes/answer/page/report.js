// Tables that can be sorted, a command that can be copied, links that open folded parts, and printing with all parts open
(() => {
  const all = (query, from = document) => [...from.querySelectorAll(query)]

  for (const table of all('table[data-sortable]')) {
    const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells], rows = [...body.rows]
    const status = document.createElement('p')
    status.className = 'unseen'
    status.setAttribute('role', 'status')
    table.parentNode.after(status)
    const key = (row, i) => { const cell = row.cells[i]; return cell && cell.dataset.key ? Number(cell.dataset.key) : null }
    heads.forEach((head, i) => {
      const button = document.createElement('button')
      button.type = 'button'
      button.append(...head.childNodes)
      head.append(button)
      head.setAttribute('aria-sort', i ? 'none' : 'ascending')
      button.addEventListener('click', () => {
        const now = head.getAttribute('aria-sort')
        const down = now === 'none' ? i > 0 && head.dataset.first !== 'up' : now === 'ascending'
        const sorted = rows.map((row, place) => [key(row, i), place, row])
        sorted.sort(([a, m], [b, n]) => a === null || b === null ? (a === null) - (b === null) || m - n : (down ? b - a : a - b) || m - n)
        body.append(...sorted.map(([, , row]) => row))
        for (const h of heads) h.setAttribute('aria-sort', h === head ? (down ? 'descending' : 'ascending') : 'none')
        status.textContent = `Sorted by ${button.textContent.trim().replace(/\s+/g, ' ')}, ${down ? 'highest' : 'lowest'} first`
      })
    })
  }

  for (const pre of all('pre[data-copy]')) {
    const button = document.createElement('button')
    button.type = 'button'
    button.className = 'copy'
    button.textContent = 'Copy'
    const status = document.createElement('span')
    status.className = 'unseen'
    status.setAttribute('role', 'status')
    button.addEventListener('click', async () => {
      let done = false
      try { await navigator.clipboard.writeText(pre.textContent); done = true } catch {
        getSelection().selectAllChildren(pre)
        try { done = document.execCommand('copy') } catch { done = false }
      }
      button.textContent = done ? 'Copied' : 'Press Ctrl+C'
      status.textContent = done ? 'The command was copied' : 'The command is selected'
      setTimeout(() => { button.textContent = 'Copy' }, 3000)
    })
    pre.after(button, status)
  }

  const unfold = () => {
    let target = null
    try { target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1))) } catch { return }
    for (let e = target; e; e = e.parentElement) if (e.tagName === 'DETAILS') e.open = true
    if (target) target.scrollIntoView()
  }
  addEventListener('hashchange', unfold)
  for (const a of all('a[href^="#"]')) a.addEventListener('click', () => setTimeout(unfold))
  unfold()

  let folded = []
  addEventListener('beforeprint', () => { folded = all('details:not([open])'); for (const d of folded) d.open = true })
  addEventListener('afterprint', () => { for (const d of folded) d.open = false })
})()
